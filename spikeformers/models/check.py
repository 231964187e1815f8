"""Check, before training, that a model's parts keep their contracts and fit together."""

import functools
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from spikeformers.layers.check import LEVELS, breach, check_part, check_shape
from spikeformers.layers.contracts import CURRENT, SPIKES, declared
from spikeformers.models.building import rebuild
from spikeformers.models.network import SpikingTransformer
from spikeformers.models.parts import find_part, slot_of


def check_model(model: SpikingTransformer) -> None:
    """Checks that the parts of a model keep their contracts.

    Each user-defined part runs by itself, on small random inputs of the shape it gets in the model. For our own parts
    the check only compares what one emits with what the next takes.

    Args:
        model: A model from `create_model`.

    Raises:
        ValueError: A part breaks a contract. The message names both in one line.
    """
    _check_ends(model)
    _check_streams(model)
    foreign = {name: part for name, part in model.named_modules() if name and is_foreign(part)}
    if foreign:
        with torch.random.fork_rng(devices=[]):  # the check leaves random draws unchanged
            _try_out(model, foreign)


def _try_out(model: SpikingTransformer, foreign: Mapping[str, nn.Module]) -> None:
    twin, neurons = _twin(model)
    checked = {
        name: part
        for name, part in foreign.items()
        if name in neurons or not any(name.startswith(f"{outer}.") for outer in foreign)
    }
    for name, part in checked.items():
        if name in neurons and not hasattr(part, "levels"):
            raise breach(name, part, LEVELS, "it declares none; a binary neuron's are levels = (0.0, 1.0)")
    done: set[str] = set()
    for name, inside in _shapes(twin, list(checked), neurons).items():
        part = checked[name]
        if name in neurons:
            inside = [*inside[:3], *(min(side, 4) for side in inside[3:])]  # neurons treat pixels alike
        kind = f"{type(part)} {part} {inside}"
        if kind not in done:
            done.add(kind)
            check_part(name, part, probe(inside, of_current=name in neurons or name == "stem"))


def _twin(model: SpikingTransformer) -> tuple[SpikingTransformer, set[str]]:
    """The model without storage, and its neurons' names: modules with levels, and those made by `neuron=`."""
    made: list[nn.Module] = []

    def recording(make: Any) -> Any:
        if isinstance(make, functools.partial):
            return functools.partial(recording(make.func), *make.args, **make.keywords)

        @functools.wraps(make)
        def neuron(*args: Any, **arguments: Any) -> nn.Module:
            made.append(make(*args, **arguments))
            return made[-1]

        return neuron

    slots = {key: value for key, value in model.config.items() if slot_of(key) == "neuron"}
    makers = {key: recording(find_part("neuron", value)) for key, value in slots.items()}
    with torch.device("meta"):
        twin = rebuild({**model.config, **makers}).eval()
    own = {*map(id, made)}
    return twin, {name for name, part in twin.named_modules() if id(part) in own or hasattr(part, "levels")}


def is_foreign(part: nn.Module) -> bool:
    """Whether the class of a part is neither ours nor torch's."""
    return type(part).__module__.partition(".")[0] not in ("spikeformers", "torch")


def _wanted(name: str, part: nn.Module, twin: SpikingTransformer, inside: list[int], came: list[int]) -> list[int]:
    """The shape that a part must return: its input's for cores, shortcuts and position."""
    if name == "stem":
        return [*inside[:2], *came[2:3], *(side // twin.stem.stride for side in inside[3:])]
    if name == "head":
        return [*inside[:2], twin.num_classes]
    keeps = name.rpartition(".")[2] in ("core", "position") or hasattr(part, "core")
    return inside if keeps else came


def _check_ends(model: SpikingTransformer) -> None:
    for name, end, needed in (
        ("stem", model.stem, "in_channels"),
        ("stem", model.stem, "stride"),
        ("head", model.head, "num_classes"),
    ):
        if not hasattr(end, needed):
            raise breach(name, end, f"of the slot {name} has {needed}", "it has none")


def _check_streams(model: SpikingTransformer) -> None:
    """Raises ValueError if a part does not take what the part before it emits."""
    stream, source = declared(model.stem, "emits") or SPIKES, type(model.stem).__name__
    path = [*_opened("position", model.position), *_opened("blocks", model.blocks)]
    for name, part in path:
        for place, taker in _takers(name, part):
            if stream not in (takes := declared(taker, "takes")):
                shortcut = "Membrane" if stream == CURRENT else "SEW"
                use = f"{shortcut}Shortcut" if hasattr(part, "core") else f"a part that takes {stream}"
                raise ValueError(
                    f"{source} returns {stream}, and {type(taker).__name__} ({place}) takes {' or '.join(takes)}: "
                    f"use {use}, or a part before it that returns {' or '.join(takes)}"
                )
        if emits := declared(part, "emits"):
            stream, source = emits, f"{type(part).__name__} ({name})"


def _opened(name: str, part: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The parts on the stream, in order."""
    if isinstance(part, nn.Sequential):
        for key, child in part.named_children():
            yield from _opened(f"{name}.{key}", child)
    elif not isinstance(part, nn.Identity):
        yield name, part


def _takers(name: str, part: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Who gets the stream unchanged: a part, and its core if no neuron comes before it."""
    yield name, part
    if (core := declared(part, "core")) is not None and CURRENT not in declared(part, "takes"):
        yield from _takers(f"{name}.core", core)


def _shapes(twin: SpikingTransformer, names: list[str], neurons: Collection[str]) -> dict[str, list[int]]:
    """The input shapes `[T, B, ...]` of some parts, from a run on meta tensors.

    Raises ValueError for a part whose output does not have the shape of its slot.
    """
    samples = 3 if twin.time_steps != 3 else 2  # unlike the number of steps, to tell the axes apart
    shapes: dict[str, list[int]] = {}

    def record(name: str, part: nn.Module) -> None:
        def hook(_part: nn.Module, inputs: tuple, output: Tensor) -> None:
            if not isinstance(inputs[0], Tensor):
                return  # a pyramid
            inside = list(inputs[0].shape)
            if inside[:2] != [twin.time_steps, samples] or not isinstance(output, Tensor):
                return  # inside a part, axes need not be steps and samples
            wanted = inside if name in neurons else _wanted(name, part, twin, inside, list(output.shape))
            check_shape(name, part, output.shape, wanted)
            shapes.setdefault(name, inside)

        part.register_forward_hook(hook)

    for name in names:
        record(name, twin.get_submodule(name))
    with torch.no_grad():
        twin.forward_outputs(torch.empty(samples, *twin.image_shape, device="meta"))
    return shapes


def probe(shape: list[int], *, of_current: bool) -> Tensor:
    """Fixed random input: current for neurons, images for a stem, spike counts for the rest."""
    noise = torch.Generator().manual_seed(0)
    if of_current:
        return 2 * torch.randn(shape, generator=noise)
    return torch.poisson(torch.full(shape, 0.6), generator=noise)
