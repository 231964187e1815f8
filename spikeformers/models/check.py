"""Whether the parts of a model keep their contracts, and go together, before anything is trained."""

import re
from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from spikeformers.layers.check import LEVELS, breach, check_part, check_shape
from spikeformers.models.network import SpikingTransformer
from spikeformers.models.registry import rebuild


def check_model(model: SpikingTransformer) -> None:
    """Raises ValueError, in one line with part and contract, where a part that is not ours breaks one.

    Each such part is tried by itself, on small random inputs of the shape that it gets in the model. Where all parts
    are ours only their going together is looked at: a stem of current does not go with a shortcut that adds spikes.
    Needs a model by `create_model`.
    """
    _check_ends(model)
    _check_stream(model)
    foreign = {name: part for name, part in model.named_modules() if name and _is_foreign(part)}
    tried = {
        name: part
        for name, part in foreign.items()
        if _is_neuron(name, part) or not any(name.startswith(f"{outer}.") for outer in foreign)
    }
    for name, part in tried.items():
        if _is_neuron(name, part) and not hasattr(part, "levels"):
            raise breach(name, part, LEVELS, "it declares none: levels = (0.0, 1.0) is a binary neuron's")
    if not tried:
        return
    with torch.random.fork_rng(devices=[]):  # what is drawn after a check is what would be drawn without one
        _try_out(model, tried)


def _try_out(model: SpikingTransformer, tried: Mapping[str, nn.Module]) -> None:
    seen: set[str] = set()
    for name, inside in _shapes(model, list(tried)).items():
        part = tried[name]
        if _is_neuron(name, part):
            inside = [*inside[:3], *(min(side, 4) for side in inside[3:])]  # pixels are alike
        kind = f"{type(part)} {part} {inside}"
        if kind not in seen:
            seen.add(kind)
            check_part(name, part, _input(name, part, inside))


def _is_foreign(part: nn.Module) -> bool:
    return type(part).__module__.partition(".")[0] not in ("spikeformers", "torch")


def _is_neuron(name: str, part: nn.Module) -> bool:
    return hasattr(part, "levels") or re.fullmatch(r"(\w+_)?neuron\d*", name.rpartition(".")[2]) is not None


def _asked(name: str, part: nn.Module, model: SpikingTransformer, inside: list[int], came: list[int]) -> list[int]:
    """The shape that must come out of a part: its input's for neurons, cores, shortcuts and position."""
    if name == "stem":
        stride = cast("int", model.stem.stride)
        return [*inside[:2], *came[2:3], *(side // stride for side in inside[3:])]
    if name == "head":
        return [*inside[:2], model.num_classes]
    keeps = _is_neuron(name, part) or name.rpartition(".")[2] in ("core", "position") or hasattr(part, "core")
    return inside if keeps else came


def _check_ends(model: SpikingTransformer) -> None:
    for name, end, needed in (
        ("stem", model.stem, "in_channels"),
        ("stem", model.stem, "stride"),
        ("head", model.head, "num_classes"),
    ):
        if not hasattr(end, needed):
            raise breach(name, end, f"of the slot {name} has {needed}", "it has none")


def _check_stream(model: SpikingTransformer) -> None:
    of_current, of_counts = not getattr(model.stem, "emits_spikes", True), getattr(model.stem, "emits_counts", False)
    stem = type(model.stem).__name__
    for name, part in model.named_modules():
        shortcut = type(part).__name__
        if of_counts and getattr(part, "wants_binary", False):
            raise ValueError(
                f"{stem} returns counts of spikes, and {shortcut} ({name}) takes 0 and 1: use SEWShortcut, or a stem "
                "of binary spikes"
            )
        if of_current and getattr(part, "wants_spikes", False):
            raise ValueError(
                f"{stem} returns current, and {shortcut} ({name}) hands its core the stream as it is, where spikes or "
                "counts belong: use MembraneShortcut, or a stem of spikes"
            )


def _shapes(model: SpikingTransformer, names: list[str]) -> dict[str, list[int]]:
    """The shapes `[T, B, ...]` of what goes into some parts, by a run that computes nothing.

    Raises ValueError for one whose output has another shape than its slot asks for.
    """
    with torch.device("meta"):
        twin = rebuild(model.config).eval()
        samples = 3 if twin.time_steps != 3 else 2  # another number than of steps, to tell the axes apart
        images = torch.empty(samples, twin.in_channels, twin.image_size, twin.image_size)
    shapes: dict[str, list[int]] = {}

    def record(name: str, part: nn.Module) -> None:
        def hook(_part: nn.Module, inputs: tuple, output: Tensor) -> None:
            inside = list(inputs[0].shape)
            if inside[:2] != [twin.time_steps, samples] or not isinstance(output, Tensor):
                return  # a part's own business: its inside need not speak of steps and samples
            check_shape(name, part, output.shape, _asked(name, part, twin, inside, list(output.shape)))
            shapes.setdefault(name, inside)

        part.register_forward_hook(hook)

    for name in names:
        record(name, twin.get_submodule(name))
    with torch.no_grad():
        twin(images)
    return shapes


def _input(name: str, part: nn.Module, shape: list[int]) -> Tensor:
    """Current for neurons and images for a stem, counts of spikes for the rest; the same each time."""
    noise = torch.Generator().manual_seed(0)
    if _is_neuron(name, part) or name == "stem":
        return 2 * torch.randn(shape, generator=noise)
    return torch.poisson(torch.full(shape, 0.6), generator=noise)
