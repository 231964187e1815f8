"""Whether the parts of a model keep their contracts, and go together, before anything is trained."""

import functools
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from spikeformers.layers.check import LEVELS, breach, check_part, check_shape
from spikeformers.layers.contracts import CURRENT, SPIKES, declared
from spikeformers.models.network import SpikingTransformer
from spikeformers.models.parts import find_part, slot_of
from spikeformers.models.registry import rebuild


def check_model(model: SpikingTransformer) -> None:
    """Raises ValueError, in one line with part and contract, where a part that is not ours breaks one.

    Each such part is tried by itself, on small random inputs of the shape that it gets in the model. Where all parts
    are ours only their going together is looked at: what one emits, the next has to take. Needs a model by
    `create_model`.
    """
    _check_ends(model)
    _check_streams(model)
    foreign = {name: part for name, part in model.named_modules() if name and _is_foreign(part)}
    if foreign:
        with torch.random.fork_rng(devices=[]):  # what is drawn after a check is what would be drawn without one
            _try_out(model, foreign)


def _try_out(model: SpikingTransformer, foreign: Mapping[str, nn.Module]) -> None:
    twin, neurons = _twin(model)
    tried = {
        name: part
        for name, part in foreign.items()
        if name in neurons or not any(name.startswith(f"{outer}.") for outer in foreign)
    }
    for name, part in tried.items():
        if name in neurons and not hasattr(part, "levels"):
            raise breach(name, part, LEVELS, "it declares none: levels = (0.0, 1.0) is a binary neuron's")
    seen: set[str] = set()
    for name, inside in _shapes(twin, list(tried), neurons).items():
        part = tried[name]
        if name in neurons:
            inside = [*inside[:3], *(min(side, 4) for side in inside[3:])]  # pixels are alike
        kind = f"{type(part)} {part} {inside}"
        if kind not in seen:
            seen.add(kind)
            check_part(name, part, _input(inside, of_current=name in neurons or name == "stem"))


def _twin(model: SpikingTransformer) -> tuple[SpikingTransformer, set[str]]:
    """The model without storage, and where its neurons are: what declares levels, and what its `neuron=` makes."""
    made: list[nn.Module] = []

    def noted(make: Any) -> Any:
        if isinstance(make, functools.partial):
            return functools.partial(noted(make.func), *make.args, **make.keywords)

        @functools.wraps(make)
        def neuron(*args: Any, **arguments: Any) -> nn.Module:
            made.append(make(*args, **arguments))
            return made[-1]

        return neuron

    makers = {key: noted(find_part("neuron", value)) for key, value in model.config.items() if slot_of(key) == "neuron"}
    with torch.device("meta"):
        twin = rebuild({**model.config, **makers}).eval()
    own = {*map(id, made)}
    return twin, {name for name, part in twin.named_modules() if id(part) in own or hasattr(part, "levels")}


def _is_foreign(part: nn.Module) -> bool:
    return type(part).__module__.partition(".")[0] not in ("spikeformers", "torch")


def _asked(name: str, part: nn.Module, twin: SpikingTransformer, inside: list[int], came: list[int]) -> list[int]:
    """The shape that must come out of a part: its input's for neurons, cores, shortcuts and position."""
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
    """Raises ValueError for two neighbours of which the second does not take what the first one emits."""
    stream, giver = declared(model.stem, "emits") or SPIKES, type(model.stem).__name__
    ways = [*_opened("position", model.position), *_opened("blocks", model.blocks)]
    for name, part in ways:
        for place, taker in _takers(name, part):
            if stream not in (takes := declared(taker, "takes")):
                shortcut = "Membrane" if stream == CURRENT else "SEW"
                use = f"{shortcut}Shortcut" if hasattr(part, "core") else f"a part that takes {stream}"
                raise ValueError(
                    f"{giver} returns {stream}, and {type(taker).__name__} ({place}) takes {' or '.join(takes)}: "
                    f"use {use}, or one ahead of it that returns {' or '.join(takes)}"
                )
        if emits := declared(part, "emits"):
            stream, giver = emits, f"{type(part).__name__} ({name})"


def _opened(name: str, part: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The parts that the stream passes, one after the other."""
    if isinstance(part, nn.Sequential):
        for key, child in part.named_children():
            yield from _opened(f"{name}.{key}", child)
    elif not isinstance(part, nn.Identity):
        yield name, part


def _takers(name: str, part: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Who gets the stream as it is: a part, and the core of one that has no neuron ahead of it."""
    yield name, part
    if (core := declared(part, "core")) is not None and CURRENT not in declared(part, "takes"):
        yield from _takers(f"{name}.core", core)


def _shapes(twin: SpikingTransformer, names: list[str], neurons: Collection[str]) -> dict[str, list[int]]:
    """The shapes `[T, B, ...]` of what goes into some parts, by a run that computes nothing.

    Raises ValueError for one whose output has another shape than its slot asks for.
    """
    samples = 3 if twin.time_steps != 3 else 2  # another number than of steps, to tell the axes apart
    shapes: dict[str, list[int]] = {}

    def record(name: str, part: nn.Module) -> None:
        def hook(_part: nn.Module, inputs: tuple, output: Tensor) -> None:
            inside = list(inputs[0].shape)
            if inside[:2] != [twin.time_steps, samples] or not isinstance(output, Tensor):
                return  # a part's own business: its inside need not speak of steps and samples
            asked = inside if name in neurons else _asked(name, part, twin, inside, list(output.shape))
            check_shape(name, part, output.shape, asked)
            shapes.setdefault(name, inside)

        part.register_forward_hook(hook)

    for name in names:
        record(name, twin.get_submodule(name))
    with torch.no_grad():
        twin(torch.empty(samples, twin.in_channels, twin.image_size, twin.image_size, device="meta"))
    return shapes


def _input(shape: list[int], *, of_current: bool) -> Tensor:
    """Current for neurons and images for a stem, counts of spikes for the rest; the same each time."""
    noise = torch.Generator().manual_seed(0)
    if of_current:
        return 2 * torch.randn(shape, generator=noise)
    return torch.poisson(torch.full(shape, 0.6), generator=noise)
