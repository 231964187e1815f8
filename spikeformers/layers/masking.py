"""Networks that see part of an image: norms that look at visible places only, and the order of tokens behind them."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm

from spikeformers.ops.arguments import check_whole


class Visible:
    """Which patches of the images in a batch are seen, for as long as a `with visible.only(keep)` block runs.

    `keep` is `[B, h, w]` of truth values; outside a block all is seen.
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
        """The places of a map `[T*B, C, H, W]` that are seen, `[T*B, H, W]`, or None where all are."""
        if self.keep is None:
            return None
        return enlarge(self.keep, x.shape[-1] // self.keep.shape[-1]).repeat(len(x) // len(self.keep), 1, 1)


def enlarge(keep: Tensor, factor: int) -> Tensor:
    """Every place as a square of places: `[B, h, w] -> [B, h * factor, w * factor]`."""
    return keep.repeat_interleave(factor, -1).repeat_interleave(factor, -2)


class MaskedNorm(nn.BatchNorm2d):
    """Batch norm over visible places only, zero elsewhere: `[T*B, C, H, W] -> [T*B, C, H, W]` current.

    What a convolution in front of it has spread into hidden places ends there. Where all is seen it is BatchNorm2d,
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
        seen = input.movedim(1, -1)[keep]  # places, C
        seen = batch_norm(
            seen,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training,
            self.momentum or 0.0,
            self.eps,
        )
        normed = seen.new_zeros(*keep.shape, input.shape[1])
        normed[keep] = seen
        return normed.movedim(-1, 1)


class InPlace(nn.Module):
    """Tokens where they lie: `[B, N, C] -> [B, N, C]`."""

    def forward(self, tokens: Tensor, restore: Tensor) -> Tensor:
        return tokens


class ReleasedOrder(nn.Module):
    """Tokens as V3's released code has them: `[B, N, C], [B, N] -> [B, N, C]`.

    It un-shuffles, by the order that the mask was drawn in, tokens that were never shuffled, so that they end up in
    places other than their own.
    """

    def forward(self, tokens: Tensor, restore: Tensor) -> Tensor:
        return torch.gather(tokens, 1, restore[..., None].expand_as(tokens))
