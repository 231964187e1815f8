"""The two orders of `q k^T v`."""

from torch import Tensor


def scores_first(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """`(q k^T) v`, quadratic in tokens: `[..., N, D], [..., N, D], [..., N, E] -> [..., N, E]`."""
    return (q @ k.transpose(-2, -1)) @ v


def values_first(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """`q (k^T v)`, linear in tokens: `[..., N, D], [..., N, D], [..., N, E] -> [..., N, E]`."""
    return q @ (k.transpose(-2, -1) @ v)
