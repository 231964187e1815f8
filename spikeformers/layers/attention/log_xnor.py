"""Position as a bias that falls with the logarithm of distance."""

import torch
from torch import Tensor

from spikeformers.layers.attention.xnor import XNORSSA, with_complement


class LogXNOR(XNORSSA):
    """XNORSSA with a whole number added where tokens are near: `[T, B, C, H, W] spikes -> current, same shape`.

        bias[i, j] = max(0, ceil(log2((N - 1) / (|i - j| + 1))))
        y = attn_neuron(scale (q k^T + (1 - q)(1 - k)^T + bias) v)     threshold 0.5

    i and j count tokens along rows, as we read it for images. The bias needs the scores, so the cost is quadratic in
    tokens: 3 N^2 C additions a step. Log-PE, Lv et al., NeurIPS 2025, arXiv:2501.16745. Arguments and errors are those
    of `SSA`; it wants binary neurons.
    """

    def attend(self, q: Tensor, k: Tensor, v: Tensor, height: int, width: int) -> Tensor:
        scores = with_complement(q) @ with_complement(k).transpose(-2, -1)  # T B M N N
        return (scores + log_bias(height * width, q)) @ v * self.scale


def log_bias(count: int, like: Tensor) -> Tensor:
    """`max(0, ceil(log2((count - 1) / (|i - j| + 1))))`: `[count, count]` whole numbers."""
    index = torch.arange(count, device=like.device)
    away = (index[:, None] - index).abs() + 1
    return torch.log2((count - 1) / away).ceil().clamp(min=0).to(like.dtype)
