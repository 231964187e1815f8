"""Masked images: norms over visible positions only, and the order of tokens for a decoder."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm

from spikeformers.ops.arguments import check_whole


class Visible:
    """The visible patches of a batch of images, inside a `with visible.only(keep)` block.

    `keep` is a boolean `[B, h, w]`; outside the block every patch is visible.
    """

    def __init__(self) -> None:
        self.keep: Tensor | None = None

    @contextmanager
    def only(self, keep: Tensor) -> Iterator[None]:
        self.keep = keep
        try:
            yield
        finally:
            self.keep = None

    def at(self, x: Tensor) -> Tensor | None:
        """The visible positions of a map `[T*B, C, H, W]` as booleans `[T*B, H, W]`, or None if all are."""
        if self.keep is None:
            return None
        return enlarge(self.keep, x.shape[-1] // self.keep.shape[-1]).repeat(len(x) // len(self.keep), 1, 1)


def enlarge(keep: Tensor, factor: int) -> Tensor:
    """Repeats each position as a square: `[B, h, w] -> [B, h * factor, w * factor]`."""
    return keep.repeat_interleave(factor, -1).repeat_interleave(factor, -2)


class MaskedNorm(nn.BatchNorm2d):
    """Batch norm over visible positions, 0 elsewhere: `[T*B, C, H, W] -> [T*B, C, H, W]` current.

    It removes what a convolution before it spread into hidden positions. With all positions visible it is BatchNorm2d,
    under the same keys. Sparse masked modelling: Tian et al., ICLR 2023, arXiv:2301.03580.
    """

    def __init__(self, dim: int, visible: Visible):
        check_whole(dim=dim)
        super().__init__(dim)
        self.visible = visible

    def forward(self, input: Tensor) -> Tensor:
        keep = self.visible.at(input)
        if keep is None:
            return super().forward(input)
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        current = input.movedim(1, -1)[keep]  # positions, C
        current = batch_norm(
            current,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training,
            self.momentum or 0.0,
            self.eps,
        )
        normed = current.new_zeros(*keep.shape, input.shape[1])
        normed[keep] = current
        return normed.movedim(-1, 1)


class InPlace(nn.Module):
    """Tokens in place: `[B, N, C] -> [B, N, C]`."""

    def forward(self, tokens: Tensor, restore: Tensor) -> Tensor:
        return tokens


class ReleasedOrder(nn.Module):
    """Tokens in the order of V3's released code: `[B, N, C], [B, N] -> [B, N, C]`.

    That code inverts the mask's random permutation on tokens that were never permuted, so they end up in wrong
    positions.
    """

    def forward(self, tokens: Tensor, restore: Tensor) -> Tensor:
        return torch.gather(tokens, 1, restore[..., None].expand_as(tokens))
