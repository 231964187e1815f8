"""Position as a bias that decreases with the logarithm of distance."""

from typing import Unpack

import torch
from torch import Tensor

from spikeformers.layers.attention.ssa import ProjectionArguments
from spikeformers.layers.attention.xnor import XNOR
from spikeformers.layers.contracts import MakeNeuron


class LogXNOR(XNOR):
    """SSA that counts equal bits of q and k and favours near tokens: `[T, B, C, H, W] spikes -> current, same shape`.

        bias[i, j] = max(0, ceil(log2((N - 1) / (|i - j| + 1))))
        agree = q k^T + (1 - q)(1 - k)^T + bias
        y = attn_neuron(sigmoid(gain) agree v)                         threshold 0.5; gain starts at -4

    i and j are row-major token indices; the paper's two-dimensional form is not implemented. Costs N^2 additions per
    head and step more than `XNORSSA`, and does not subtract the minimum. Log-PE, Lv et al., NeurIPS 2025,
    arXiv:2501.16745. Released code: equal, by two ports; we could not read the original. Arguments and errors: see
    `XNORSSA`.
    """

    places = True

    def __init__(
        self,
        dim: int,
        num_heads: int,
        neuron: MakeNeuron,
        *,
        scale: float = 0.017986,
        **ssa: Unpack[ProjectionArguments],
    ):
        super().__init__(dim, num_heads, neuron, scale=scale, **ssa)

    def agreement(self, q: Tensor, k: Tensor, height: int, width: int) -> Tensor:
        return super().agreement(q, k, height, width) + log_bias(height * width, q)


def log_bias(count: int, like: Tensor) -> Tensor:
    """`max(0, ceil(log2((count - 1) / (|i - j| + 1))))`: `[count, count]` integers."""
    index = torch.arange(count, device=like.device)
    away = (index[:, None] - index).abs() + 1
    return torch.log2((count - 1) / away).ceil().clamp(min=0).to(like.dtype)
