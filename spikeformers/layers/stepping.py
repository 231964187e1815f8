"""Any part, one step at a time, with what it remembers passed in and out."""

import copy
import functools
from collections import Counter
from collections.abc import Sequence
from typing import Any, TypeVar

from torch import Tensor, nn

from spikeformers.layers.contracts import declared, step_of

Part = TypeVar("Part", bound=nn.Module)


class Stepping(nn.Module):
    """A part as a pure function of one step: `[B, ...], *state -> [B, ...], *state`.

    The part's own `forward` runs, on a sequence of one step; where a part in it declares `remembers`, its `step` stands
    in for the method that mixes steps. The copy that runs is in eval mode and shares the part's weights; the part is
    unchanged.

    Raises ValueError if a part in it, which the message names, looks ahead in time or remembers without a `step`.
    """

    def __init__(self, part: nn.Module):
        super().__init__()
        self.part = _sharing_weights(part).eval()
        self._tape = tape = _Tape()
        for name, inside in self.part.named_modules():
            check_steps_alone(name, inside)
        driven = {
            id(getattr(inside, name)) for inside in self.part.modules() for name in declared(inside, "drives")
        }  # by the part that has them
        for name, inside in self.part.named_modules():
            if declared(inside, "remembers") and id(inside) not in driven:
                method = declared(inside, "mixes")
                setattr(inside, method, functools.partial(tape.one_step, name, inside))

    def forward(self, x: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        self._tape.rewind(state)
        y = self.part(x[None])[0]
        return y, *self._tape.after

    def initial(self, x: Tensor) -> dict[str, Tensor]:
        """What it remembers before the first step, by name, for inputs like `x`, `[B, ...]`; runs it once."""
        self._tape.rewind(None)
        self.part(x[None])
        return dict(zip(self._tape.kept, self._tape.before, strict=True))


class _Tape:
    """The state in the order in which the parts ask for it, which is that of their calls."""

    before: Sequence[Tensor]

    def rewind(self, state: Sequence[Tensor] | None) -> None:
        """Begins a step after `state`, or a first one that notes what parts begin with."""
        self.recording = state is None
        self.before, self.after, self.kept = [] if state is None else state, list[Tensor](), list[str]()
        self.calls = Counter[str]()

    def one_step(self, name: str, part: Any, *inputs: Any) -> Tensor:
        """Stands in for a method on sequences of one step."""
        now = [x[0] if isinstance(x, Tensor) else x for x in inputs]
        begin, own = len(self.after), declared(part, "remembers")
        if self.recording:
            self.before = [*self.before, *part.initial(*now)]
            self.calls[name] += 1  # each call of a step has a state of its own
            again = f".{self.calls[name]}" if self.calls[name] > 1 else ""
            self.kept += [f"{name}{again}.{one}".lstrip(".") for one in own]
        y, *after = part.step(*now, *self.before[begin : begin + len(own)])
        self.after += after
        return y[None]


def check_steps_alone(name: str, part: nn.Module) -> None:
    """Raises ValueError if a part says that it cannot run one step at a time."""
    where = f"{type(part).__name__} ({name})" if name else type(part).__name__
    if not declared(part, "causal"):
        other = "neuron=SlidingPSN" if hasattr(part, "levels") else "attention=CausalSSA"
        other = f"use another, such as {other}"
        if hasattr(part, "attn"):  # a block that chooses its tokens
            other = "build the model without pruning"
        raise ValueError(f"{where} looks ahead in time, and a stream has no later steps: {other}")
    if declared(part, "remembers") and step_of(part) is None:
        raise ValueError(
            f"{where} computes sequences in its own {declared(part, 'mixes')} and has no step of its own: give it one "
            "(docs/contracts.md), or use another part"
        )


def _sharing_weights(part: Part) -> Part:
    return copy.deepcopy(part, {id(x): x for x in [*part.parameters(), *part.buffers()]})
