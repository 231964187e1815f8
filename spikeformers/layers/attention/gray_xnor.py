"""Position as a Gray code appended to queries and keys."""

from typing import Unpack

import torch
from torch import Tensor

from spikeformers.layers.attention.ssa import ProjectionArguments
from spikeformers.layers.attention.xnor import XNOR
from spikeformers.layers.contracts import MakeNeuron
from spikeformers.ops.arguments import check_whole


class GrayXNOR(XNOR):
    """SSA that counts equal bits of q and k plus Gray codes of row and column: `[T, B, C, H, W] spikes -> current`.

        code(i) = bits of i xor (i >> 1)                           of the row, then of the column, bits / 2 each
        q, k = [q, code], [k, code]
        y = attn_neuron(sigmoid(gain) (q k^T + (1 - q)(1 - k)^T) v)       threshold 0.5; gain starts at -4

    The codes of two indices a power of two apart differ in the same number of bits everywhere. Costs 2 N^2 additions
    per head and code bit more than `XNORSSA`, and does not subtract the minimum. Gray-PE, Lv et al., NeurIPS 2025,
    arXiv:2501.16745, in its form for images. Released code: differs, two ports for time series give all 10 bits to one
    index, which is the same for a map of one row.

    Raises ValueError as `XNORSSA` does, for an odd number of bits, and, when called, for a map with more than
    2^(bits / 2) rows or columns.
    """

    places = True

    def __init__(
        self,
        dim: int,
        num_heads: int,
        neuron: MakeNeuron,
        *,
        scale: float = 0.017986,
        bits: int = 10,
        **ssa: Unpack[ProjectionArguments],
    ):
        super().__init__(dim, num_heads, neuron, scale=scale, **ssa)
        check_whole(bits=bits)
        if bits % 2:
            raise ValueError(f"bits {bits} is odd, but rows and columns get half of them each: give an even number")
        self.bits = bits

    def agreement(self, q: Tensor, k: Tensor, height: int, width: int) -> Tensor:
        if (side := max(height, width)) > 2 ** (self.bits // 2):
            needed = 2 * (side - 1).bit_length()
            raise ValueError(f"a map of {height} x {width} has more places than {self.bits} bits: set bits={needed}")
        rows, columns = (gray_code(side, self.bits // 2, q) for side in (height, width))
        code = torch.cat([rows[:, None].expand(-1, width, -1), columns[None].expand(height, -1, -1)], dim=-1)
        code = code.flatten(0, 1)  # N bits
        q, k = (torch.cat([x, code.expand(*x.shape[:-1], -1)], dim=-1) for x in (q, k))
        return super().agreement(q, k, height, width)


def gray_code(count: int, bits: int, like: Tensor) -> Tensor:
    """The Gray codes of 0 to `count - 1`, most significant bit first: `[count, bits]` of 0 and 1."""
    index = torch.arange(count, device=like.device)
    shifts = torch.arange(bits - 1, -1, -1, device=like.device)
    return ((index ^ (index >> 1))[:, None] >> shifts & 1).to(like.dtype)
