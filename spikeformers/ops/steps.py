"""One step at a time: how a part that remembers earlier steps runs over a sequence, and how another part steps it."""

from typing import Any

import torch
from torch import Tensor

from spikeformers.ops.lif.reference import check_time
from spikeformers.ops.tracing import runs_eagerly


def over_time(part: Any, x: Tensor) -> Tensor:
    """`part.step` at each step, beginning with `part.initial`: `[T, ...] -> [T, ...]`."""
    check_time(x)
    state, ys = part.initial(x[0]), []
    for x_t in x.unbind(0):
        y, *state = part.step(x_t, *state)
        ys.append(y)
    return torch.stack(ys)


def by_step(part: Any, x: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
    """`part.step(x, *state)`, called as a module, so that hooks see a sequence of one step: `[...] -> [...]`."""
    if torch.compiler.is_compiling():
        return part.step(x, *state)
    after: list[Tensor] = []

    def forward(x: Tensor) -> Tensor:
        y, *after[:] = part.step(x[0], *state)
        return y[None]

    part.forward = forward
    try:
        y = part(x[None])[0]
    finally:
        del part.forward
    return y, *after


def by_sample(numbers: Tensor, x: Tensor) -> Tensor:
    """A view of one number per sample, `[B]`, that broadcasts against `x`, `[B, ...]`; `[]` for `x` without axes."""
    return numbers.view(*numbers.shape, *[1] * (x.ndim - numbers.ndim))


def check_horizon(name: str, what: str, t: Tensor, time_steps: int) -> None:
    """Raises ValueError if a sample is at a step, counted from 0, that a part has no parameters for."""
    if runs_eagerly(t) and not t.is_meta and t.numel() and (step := int(t.max())) >= time_steps:
        raise ValueError(
            f"{name} has {what} for {time_steps} steps and got {step + 1}: build it with time_steps={step + 1}"
        )
