"""Dual spike self-attention."""

from typing import Any

import torch
from torch import Tensor, nn

from spikeformers.layers.attention.heads import check_heads, merge_heads, split_heads
from spikeformers.layers.contracts import MakeNeuron
from spikeformers.layers.conv import ConvNorm
from spikeformers.layers.synchronised import mean_across, spans_processes
from spikeformers.ops.arguments import check_whole

_RATES = ("x_rate", "attn_rate")


class DSSA(nn.Module):
    """Tokens attend to patches through a binary attention map: `[T, B, C, H, W] spikes -> [T, B, C, H, W] current`.

        k, v = ConvNorm(x), a convolution of patches                 current, n = N / patch_size^2 tokens
        a = attn_neuron(x k^T / sqrt(D x_rate))                      0 or 1, N by n
        y = out_neuron(a v / sqrt(n attn_rate))                      0 or 1
        return ConvNorm(y)                                           current

    Both products have spikes on one side, so they only add: 2 N n C additions per step. `x_rate` and `attn_rate` are
    per-head moving averages of the mean squares of x and a (the firing rates, if spikes are binary). The newest batch
    has weight 0.001, and the averages are updated before use and carry no gradient. A rate of 0 counts as 1. `bias` is
    that of the convolution of patches. SpikingResformer, Shi et al., CVPR 2024, arXiv:2403.14302. Reported for the
    whole model: 74.3 to 78.8 % on ImageNet-1k. Released code: equal, to 1e-14, once every head has fired. A head that
    is silent in the first batch starts from the first rate at which it fires; the released code averages from 0 and
    scales that head 32 times too high.

    Raises ValueError if `dim` is not a multiple of `num_heads`, and, when called, for a height or width that is not
    a multiple of `patch_size`.
    """

    x_rate: Tensor
    attn_rate: Tensor
    synchronised = False  # whether the rates are those of all processes

    def __init__(self, dim: int, num_heads: int, neuron: MakeNeuron, *, bias: bool = False, patch_size: int = 1):
        super().__init__()
        check_heads(dim, num_heads)
        check_whole(why="give the width of a patch, 1 or more", patch_size=patch_size)
        self.num_heads, self.patch_size = num_heads, patch_size
        self.kv = ConvNorm(dim, 2 * dim, patch_size, stride=patch_size, bias=bias)
        self.attn_neuron, self.out_neuron = neuron(), neuron()
        self.proj = ConvNorm(dim, dim)
        for rate in _RATES:
            self.register_buffer(
                rate, torch.zeros(num_heads, 1, 1)
            )  # `Module.to` supports no memory formats of five axes

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        if height % self.patch_size or width % self.patch_size:
            raise ValueError(
                f"a map of {height} x {width} is not a multiple of patch_size {self.patch_size}: resize the image"
            )
        k, v = split_heads(self.kv(x), self.num_heads).chunk(2, -1)  # T B M n D; each head's channels are k, then v
        q = split_heads(x, self.num_heads)  # T B M N D
        k = k * _scale(self._updated(self.x_rate, q), k.shape[-1])
        attn = self.attn_neuron(q @ k.transpose(-2, -1))  # T B M N n
        v = v * _scale(self._updated(self.attn_rate, attn), v.shape[-2])
        return self.proj(self.out_neuron(merge_heads(attn @ v, x)))

    def _updated(self, rate: Tensor, spikes: Tensor) -> Tensor:
        """The running rate, in training updated first; a head's first batch with spikes sets it."""
        if self.training:
            new = spikes.detach().square().mean((0, 1, 3, 4), dtype=rate.dtype).view(-1, 1, 1)
            if spans_processes(self):
                new = mean_across(new, spikes.numel() // len(new))
            rate.copy_(torch.where(rate == 0, new, torch.lerp(rate, new, 0.001)))
        return torch.where(rate == 0, 1, rate)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for rate in _RATES:
            destination[prefix + rate] = destination[prefix + rate].view(1, 1, -1, 1, 1)  # the released shape

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        for key in (prefix + rate for rate in _RATES):
            if key in state_dict and state_dict[key].shape == (1, 1, self.num_heads, 1, 1):
                state_dict[key] = state_dict[key].view(-1, 1, 1)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def extra_repr(self) -> str:
        return f"num_heads={self.num_heads}, patch_size={self.patch_size}"


def _scale(rate: Tensor, count: int) -> Tensor:
    """The factor that brings a sum of `count` products, nonzero at `rate`, to the variance of one product."""
    return (rate * count).rsqrt()
