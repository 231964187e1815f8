"""Multi-scale spiking attention: queries and their neighbourhood mask keys."""

from typing import Any, Self

from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from spikeformers.layers.attention.heads import check_heads
from spikeformers.layers.contracts import MakeNeuron
from spikeformers.layers.conv import ConvNorm, SpikeConv2d, check_odd
from spikeformers.layers.norm import batch_norm
from spikeformers.layers.time import merge_time, split_time
from spikeformers.ops.arguments import check_finite
from spikeformers.ops.notes import carried


class MSSA(nn.Module):
    """QKTA with a second gate path, along the row of tokens: `[T, B, C, H, W] spikes or counts -> current, same shape`.

        q, k = neuron(ConvNorm(x))                                 0 or 1
        p = neuron(norm(convolution over `kernel_size` tokens))    0 or 1, from x too
        y = k * attn_neuron(sum over a head's channels of q and p) 0 or 1, a token of a head kept or dropped
        return ConvNorm(y)                                         current

    Tokens are laid out in one row, so the convolution also mixes the end of one image row with the start of the next.
    It costs kernel_size N C^2 additions more than `QKTA`. `bias` is that of the q, k and p convolutions. Multi-scale
    spiking attention, MSViT, Hua et al., IJCAI 2025, arXiv:2505.14719; its last neuron is in the shortcut here.
    Released code: equal, MSViT's, with `attn_threshold` 1: the released code asks for 0.5, as here, but its neuron
    builder ignores it.

    Raises ValueError if `dim` is not a multiple of `num_heads`, and for an even `kernel_size`.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        neuron: MakeNeuron,
        *,
        bias: bool = False,
        kernel_size: int = 3,
        attn_threshold: float = 0.5,
    ):
        super().__init__()
        check_heads(dim, num_heads)
        check_finite(attn_threshold=attn_threshold)
        self.num_heads = num_heads
        self.q, self.k = (ConvNorm(dim, dim, bias=bias) for _ in range(2))
        self.near = _RowConvNorm(dim, kernel_size, bias)
        self.q_neuron, self.k_neuron, self.near_neuron = neuron(), neuron(), neuron()
        self.attn_neuron = neuron(v_threshold=attn_threshold)
        self.proj = ConvNorm(dim, dim, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        q, k, p = (
            neuron(proj(x)).unflatten(2, (self.num_heads, -1))  # T B M D H W
            for proj, neuron in ((self.q, self.q_neuron), (self.k, self.k_neuron), (self.near, self.near_neuron))
        )
        mask = self.attn_neuron(q.sum(3, keepdim=True) + self.context(p))
        return self.proj((k * mask).flatten(2, 3))

    def context(self, p: Tensor) -> Tensor:
        """What the second path adds to a head's sum of queries: `[T, B, M, D, H, W] -> [T, B, M, 1, H, W]`."""
        return p.sum(3, keepdim=True)

    def extra_repr(self) -> str:
        return f"num_heads={self.num_heads}"


class ChannelMSSA(MSSA):
    """MSSA whose second path is not summed, so that each channel has a gate: `[T, B, C, H, W] -> current, same shape`.

        y = k * attn_neuron(sum over a head's channels of q, plus p)

    It sees no neighbours unless `kernel_size` is above 1. The released MSViT for CIFAR-100 has it, with threshold 1;
    arXiv:2505.14719 does not. Released code: equal, MSViT's, with `attn_threshold` 1. Errors are those of `MSSA`.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        neuron: MakeNeuron,
        *,
        bias: bool = False,
        kernel_size: int = 1,
        attn_threshold: float = 0.5,
    ):
        super().__init__(dim, num_heads, neuron, bias=bias, kernel_size=kernel_size, attn_threshold=attn_threshold)

    def context(self, p: Tensor) -> Tensor:
        """What the second path adds to a head's sum of queries: itself, `[T, B, M, D, H, W]`."""
        return p


class _RowConvNorm(nn.Module):
    """Convolution along all tokens in one row, and norm: `[T, B, C, H, W] -> [T, B, C, H, W]`."""

    norm: Any  # BatchNorm2d, or Identity once folded

    def __init__(self, dim: int, kernel_size: int, bias: bool):
        super().__init__()
        check_odd(kernel_size)
        self.conv = SpikeConv2d(dim, dim, (kernel_size, 1), padding=(kernel_size // 2, 0), bias=bias)
        self.norm = nn.BatchNorm2d(dim)

    def forward(self, x: Tensor) -> Tensor:
        row = carried(x, merge_time(x).flatten(2)[..., None])  # T B, C, N, 1
        y = self.conv(row).flatten(2).unflatten(-1, x.shape[-2:])
        return batch_norm(self.norm, split_time(y, x.shape[0]))

    def folded(self) -> Self:
        self.conv, self.norm = fuse_conv_bn_eval(self.conv, self.norm), nn.Identity()
        return self
