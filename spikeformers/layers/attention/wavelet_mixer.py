"""A token mixer on Haar wavelets."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from spikeformers.layers.attention.heads import check_heads
from spikeformers.layers.contracts import MakeNeuron
from spikeformers.layers.norm import batch_norm
from spikeformers.layers.pool import MaxPool
from spikeformers.layers.time import at_each_step, merge_time, split_time
from spikeformers.neurons.ternary_if import TernaryIF


class WaveletMixer(nn.Module):
    """Wavelets, a pointwise and a 3x3 convolution in place of attention: `[T, B, C, H, W] spikes -> current`.

        f = neuron(norm(H haar_neuron(x H^T)))                     the map's frequencies, 0 or 1
        f = norm(f of each head times a weight of its own)         mixes a head's channels, at each frequency
        f = norm(H^T haar_neuron(haar_neuron(f) H))                back, from spikes of -1, 0, 1
        return f + norm(1x1 convolution(x)) + norm(3x3 convolution(x))

    `H` is the orthonormal Haar matrix of the map's side. The convolutions have a bias, see C / num_heads channels each,
    and share their weights among heads. 10 C D additions per token, where D = C / num_heads, and those of the
    transforms; SSA costs 4 C^2 and its products. `bias` is ignored. FATM, frequency-aware token mixer, of SWformer,
    Fang et al., ECCV 2024, arXiv:2403.11138. Released code: equal, to 1e-6 in SWformer's logits; the released code
    computes `H` for the first map only, in float32.

    Raises ValueError if `dim` is not a multiple of `num_heads`, and, when called, for a side that is not a power of 2.
    """

    def __init__(
        self, dim: int, num_heads: int, neuron: MakeNeuron, *, bias: bool = False, haar_neuron: MakeNeuron = TernaryIF
    ):
        super().__init__()
        check_heads(dim, num_heads)
        self.num_heads, size = num_heads, dim // num_heads
        self.weight = nn.Parameter(0.02 * torch.randn(num_heads, size, size))
        self.row_neuron, self.inverse_row_neuron, self.inverse_column_neuron = (haar_neuron() for _ in range(3))
        self.neuron = neuron()
        self.forward_norm, self.weight_norm, self.inverse_norm = (nn.BatchNorm2d(dim) for _ in range(3))
        self.point, self.point_norm = nn.Conv2d(size, size, 1), nn.BatchNorm2d(dim)
        self.near, self.near_norm = nn.Conv2d(size, size, 3, padding=1), nn.BatchNorm2d(dim)

    def forward(self, x: Tensor) -> Tensor:
        return (
            self.wavelets(x) + self.shared(self.point, self.point_norm, x) + self.shared(self.near, self.near_norm, x)
        )

    def wavelets(self, x: Tensor) -> Tensor:
        """The wavelet branch: `[T, B, C, H, W] spikes -> [T, B, C, H, W] current`."""
        by_column, by_row = (haar(side, x) for side in x.shape[-2:])
        f = batch_norm(self.forward_norm, by_column @ self.row_neuron(x @ by_row.T))
        kernel = self.weight.transpose(1, 2).flatten(0, 1)[..., None, None]  # C D 1 1
        f = split_time(conv2d(merge_time(self.neuron(f)), kernel, groups=self.num_heads), len(x))
        f = self.inverse_row_neuron(batch_norm(self.weight_norm, f)) @ by_row
        return batch_norm(self.inverse_norm, by_column.T @ self.inverse_column_neuron(f))

    def shared(self, conv: nn.Conv2d, norm: nn.Module, x: Tensor) -> Tensor:
        """A convolution that all heads share: `[T, B, C, H, W] -> [T, B, C, H, W] current`."""
        heads, bias = self.num_heads, conv.bias
        assert bias is not None
        weight = conv.weight.repeat(heads, 1, 1, 1)
        y = conv2d(merge_time(x), weight, bias.repeat(heads), padding=conv.padding, groups=heads)
        return batch_norm(norm, split_time(y, len(x)))

    def extra_repr(self) -> str:
        return f"num_heads={self.num_heads}"


class PooledWaveletMixer(WaveletMixer):
    """WaveletMixer between max pools, then convolutions: `[T, B, C, H, W] spikes -> [T, B, C, H, W] current`.

        f = max pool(wavelets(max pool(x)))
        return norm(1x1 convolution(f)) + norm(3x3 convolution(f))

    The pools are 3x3, with stride 1. The convolutions see current. From SWformer's released code for events, Fang et
    al., ECCV 2024, arXiv:2403.11138. Released code: equal, to 1e-6 in SWformer's logits. Errors are those of
    `WaveletMixer`.
    """

    def __init__(
        self, dim: int, num_heads: int, neuron: MakeNeuron, *, bias: bool = False, haar_neuron: MakeNeuron = TernaryIF
    ):
        super().__init__(dim, num_heads, neuron, haar_neuron=haar_neuron)
        self.pool = MaxPool(3, 1, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        f = self._pooled(self.wavelets(self._pooled(x)))
        return self.shared(self.point, self.point_norm, f) + self.shared(self.near, self.near_norm, f)

    def _pooled(self, x: Tensor) -> Tensor:
        return at_each_step(self.pool, x)


def haar(side: int, like: Tensor) -> Tensor:
    """The orthonormal Haar matrix `[side, side]`, in the dtype and on the device of `like`.

    Raises ValueError if `side` is not a power of 2.
    """
    if side & (side - 1):
        raise ValueError(
            f"a map with a side of {side} has no Haar wavelets: give images whose side is the model's stride times a "
            f"power of 2, for a side of {1 << (side.bit_length() - 1)} or {1 << side.bit_length()} here"
        )
    rows = [[1 / math.sqrt(side)] * side]
    while len(rows) < side:  # numbers of Python's, so that exported programs have a constant here
        half = side // (2 * len(rows))
        height = 1 / math.sqrt(2 * half)
        rows += [
            [0.0] * (2 * half * i) + [height] * half + [-height] * half + [0.0] * (side - 2 * half * (i + 1))
            for i in range(len(rows))
        ]
    return torch.tensor(rows, dtype=like.dtype, device=like.device)
