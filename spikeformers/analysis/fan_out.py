"""Fan-out: how many multiplications each element of an operand takes part in."""

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import Any

import torch
from torch import Tensor

from spikeformers.analysis.operands import total


@lru_cache(maxsize=4096)
def reached(
    size: int, kernel: int, stride: int, padding: int, dilation: int, outputs: int | None = None
) -> tuple[int, ...]:
    """For each input along one axis, the number of taps that read it.

    `reached(4, 3, 1, 1, 1) == (2, 3, 3, 2)`: taps in the padding read nothing, so inputs at the edges reach fewer
    outputs. By default there are as many `outputs` as fit.
    """
    outputs = outputs or (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
    seen = [0] * size
    for output in range(outputs):
        for tap in range(kernel):
            position = output * stride - padding + tap * dilation
            if 0 <= position < size:
                seen[position] += 1
    return tuple(seen)


@lru_cache(maxsize=4096)
def reached_transposed(
    size: int, outputs: int, kernel: int, stride: int, padding: int, dilation: int
) -> tuple[int, ...]:
    """`reached` for a transposed convolution, without taps that fall outside the output."""
    places = ([i * stride - padding + tap * dilation for tap in range(kernel)] for i in range(size))
    return tuple(sum(0 <= place < outputs for place in row) for row in places)


def conv_fan_out(
    x_shape: Sequence[int],
    weight_shape: Sequence[int],
    y_shape: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    groups: int,
) -> tuple[int, list[tuple[int, ...]]]:
    """Output channels that an input channel reaches, and, for each spatial axis, the taps that read each input."""
    sizes, kernels, outputs = x_shape[2:], weight_shape[2:], y_shape[2:]
    channels = weight_shape[1] if transposed else weight_shape[0] // groups
    axes = []
    for i, (size, kernel) in enumerate(zip(sizes, kernels, strict=True)):
        numbers = (kernel, *(numbers[i % len(numbers)] for numbers in (stride, padding, dilation)))
        axes.append(
            reached_transposed(size, outputs[i], *numbers) if transposed else reached(size, *numbers, outputs[i])
        )
    return channels, axes


def spread(amount: Tensor, channels: int, axes: Sequence[tuple[int, ...]]) -> int:
    """Multiplications that integers `amount`, `[N, C, *space]`, take part in: an exact integer."""
    if all(len(set(axis)) == 1 for axis in axes):
        return total(amount) * channels * prod(axis[0] for axis in axes)
    by_place = amount.sum((0, 1)).double()
    weights = torch.ones((), dtype=torch.float64, device=amount.device)
    for axis in axes:
        weights = weights[..., None] * torch.tensor(axis, dtype=torch.float64, device=amount.device)
    return round(float((by_place * weights).sum())) * channels


def spread_where(there: Tensor, amount: Tensor, args: Sequence[Any]) -> int:
    """`spread` where weights are `there`, `[C_out, C_in, *kernel]`. `args` are `aten.convolution`'s after its bias."""
    stride, padding, dilation, transposed, output_padding, groups = args
    taps = there.double()  # summed over the channels that an input channel reaches
    taps = taps.sum(1)[:, None] if transposed else taps.unflatten(0, (groups, -1)).sum(1).flatten(0, 1)[None]
    how = (stride, padding, dilation, transposed, output_padding, 1)
    return round(float(torch.ops.aten.convolution(amount.double().sum(0, keepdim=True), taps, None, *how).sum()))


def meetings(left: Tensor, right: Tensor) -> int:
    """Multiplications of `[..., I, K] @ [..., K, J]` with both sides nonzero, weighted by counts: an exact integer.

    Each of the K inner indices pairs every element of a left column with every element of a right row.
    """
    return round(float((left.sum(-2).double() * right.sum(-1).double()).sum()))


def coincidences(left: Tensor, right: Tensor) -> int:
    """Elementwise multiplications of two tensors with both sides nonzero, weighted by counts."""
    return total(left * right)
