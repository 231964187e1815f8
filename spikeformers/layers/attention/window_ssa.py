"""Spiking self-attention within windows."""

from typing import Unpack

import torch
from torch import Tensor

from spikeformers.layers.attention.ssa import SSA, SSAArguments
from spikeformers.layers.contracts import MakeNeuron
from spikeformers.ops.arguments import check_whole
from spikeformers.ops.spike_attention import spike_attention


class WindowSSA(SSA):
    """SSA within each of `splits` by `splits` windows of the map: `[T, B, C, H, W] spikes -> current, same shape`.

    With N / splits^2 tokens per window the products cost min(2 N^2 C / splits^2, 2 N C D) additions per step. Windows
    do not interact. LocalSSA as SGLFormer's paper describes it, Zhang et al., Frontiers in Neuroscience 2024. Released
    code: differs, it has the windows of `DilatedWindowSSA`.

    Raises ValueError if `dim` is not a multiple of `num_heads`, for splits below 1, and, when called, for a height
    or width that is not a multiple of `splits`.
    """

    places = True

    def __init__(self, dim: int, num_heads: int, neuron: MakeNeuron, *, splits: int = 2, **ssa: Unpack[SSAArguments]):
        super().__init__(dim, num_heads, neuron, **ssa)
        check_whole(why="give the number of windows along a side", splits=splits)
        self.splits = splits

    def attend(self, q: Tensor, k: Tensor, v: Tensor, height: int, width: int) -> Tensor:
        if height % self.splits or width % self.splits:
            raise ValueError(
                f"a map of {height} x {width} does not split into {self.splits} x {self.splits} windows: "
                "give splits that divide it"
            )
        windows = self.windows(torch.arange(height * width, device=q.device).view(height, width))  # windows, tokens
        y = spike_attention(q[..., windows, :], k[..., windows, :], v[..., windows, :], self.scale)
        return y.new_zeros(q.shape).index_copy(-2, windows.flatten(), y.flatten(-3, -2))

    def windows(self, tokens: Tensor) -> Tensor:
        """The tokens of each window: `[H, W] -> [splits^2, N / splits^2]`."""
        rows = tokens.unflatten(0, (self.splits, -1)).unflatten(-1, (self.splits, -1))  # window, row, window, column
        return rows.transpose(1, 2).flatten(2).flatten(0, 1)


class DilatedWindowSSA(WindowSSA):
    """WindowSSA with dilated windows, every `splits`-th row and column: `[T, B, C, H, W] spikes -> current`.

    Each token sees N / splits^2 tokens across the map, at the cost of `WindowSSA`. LocalSSA as in SGLFormer's code,
    Zhang et al., Frontiers in Neuroscience 2024, and after LSFormer, arXiv:2605.13887. Reported for SGLFormer, which
    alternates local and global attention: CIFAR-10 96.76, CIFAR-100 82.26 %. Released code: equal, SGLFormer's, to
    1e-14. Errors are those of `WindowSSA`.
    """

    def windows(self, tokens: Tensor) -> Tensor:
        """The tokens of each window: `[H, W] -> [splits^2, N / splits^2]`."""
        rows = tokens.unflatten(0, (-1, self.splits)).unflatten(-1, (-1, self.splits))  # row, window, column, window
        return rows.permute(1, 3, 0, 2).flatten(2).flatten(0, 1)
