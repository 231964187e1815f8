"""Building blocks of the families' trunks."""

from collections.abc import Iterable

import torch
from torch import nn

from spikeformers.layers.block import block
from spikeformers.layers.contracts import MakeAttention, MakeMLP, MakeNeuron, MakeShortcut


def spread(drop_path: float, depth: int) -> list[float]:
    """Drop path rates, growing linearly from 0 to `drop_path` at the last block."""
    return torch.linspace(0, drop_path, depth, device="cpu").tolist()


def attention_blocks(
    rates: Iterable[float], dim: int, num_heads: int, mlp_ratio: float, *, neuron: MakeNeuron,
    attention: MakeAttention, mlp: MakeMLP, shortcut: MakeShortcut, bias: bool = False,
) -> list[nn.Sequential]:  # fmt: skip
    """A block of attention and MLP per rate; `bias` is that of q, k and v."""
    hidden_dim = int(mlp_ratio * dim)
    return [
        block(
            shortcut, neuron, drop_path=rate,
            attn=attention(dim, num_heads, neuron, bias=bias), mlp=mlp(dim, hidden_dim, neuron),
        )
        for rate in rates
    ]  # fmt: skip
