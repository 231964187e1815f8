"""Position as a Gray code appended to queries and keys."""

import torch
from torch import Tensor

from spikeformers.layers.attention.xnor import XNORSSA


class GrayXNOR(XNORSSA):
    """XNORSSA whose q and k carry the Gray codes of row and column: `[T, B, C, H, W] spikes -> current, same shape`.

        code(i) = bits of i xor (i >> 1)                           of the row, then of the column
        q, k = [q, code], [k, code]                                the rest is XNORSSA's

    Indices that differ by a power of two differ in the same number of bits anywhere. Costs 2 N^2 additions per head
    more than `XNORSSA` for each of the ceil(log2 H) + ceil(log2 W) bits. Any image size. Gray-PE, Lv et al., NeurIPS
    2025, arXiv:2501.16745. Arguments and errors: see `XNORSSA`.
    """

    def agreement(self, q: Tensor, k: Tensor, height: int, width: int) -> Tensor:
        rows, columns = gray_code(height, q), gray_code(width, q)
        code = torch.cat([rows[:, None].expand(-1, width, -1), columns[None].expand(height, -1, -1)], dim=-1)
        code = code.flatten(0, 1)  # N bits
        q, k = (torch.cat([x, code.expand(*x.shape[:-1], -1)], dim=-1) for x in (q, k))
        return super().agreement(q, k, height, width)


def gray_code(count: int, like: Tensor) -> Tensor:
    """The Gray codes of 0 to `count - 1`, most significant bit first: `[count, ceil(log2 count)]` of 0 and 1."""
    index = torch.arange(count, device=like.device)
    shifts = torch.arange((count - 1).bit_length() - 1, -1, -1, device=like.device)
    return ((index ^ (index >> 1))[:, None] >> shifts & 1).to(like.dtype)
