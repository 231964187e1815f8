"""Spiking self-attention over chunks of time."""

from typing import Unpack

import torch
from torch import Tensor

from spikeformers.layers.attention.ssa import SSA, ProjectionArguments
from spikeformers.layers.contracts import MakeNeuron
from spikeformers.ops.arguments import check_finite, check_whole
from spikeformers.ops.spike_attention import spike_attention


class STAtten(SSA):
    """SSA over the tokens of `chunk` steps jointly: `[T, B, C, H, W] spikes -> [T, B, C, H, W] current`.

        q, k, v of a chunk as one sequence of chunk * N tokens
        y = attn_neuron(scale q (k^T v)), threshold 0.5

    A step also sees the later steps of its chunk (`causal = False`). Same parameters as SSA; at most 2 N C D additions
    per step. The last chunk is shorter if `chunk` does not divide T. `scale` defaults to 1 / H, the released value for
    images, where H is the height of the map. Spiking Transformer with Spatial-Temporal Attention, CVPR 2025,
    arXiv:2409.19764. Reported with SDT: CIFAR-10 95.6 to 96.0, CIFAR-100 78.4 to 79.9 %. Released code: equal, to
    1e-14, for images; for events it has a scale of 1 / (H^2 chunk) and a mask from a pooled input.

    Raises ValueError if `dim` is not a multiple of `num_heads`, and for a chunk below 1.
    """

    causal = False

    def __init__(
        self,
        dim: int,
        num_heads: int,
        neuron: MakeNeuron,
        *,
        chunk: int = 2,
        scale: float | None = None,
        **ssa: Unpack[ProjectionArguments],
    ):
        super().__init__(dim, num_heads, neuron, **ssa)
        check_whole(why="give the number of steps that attend to each other", chunk=chunk)
        check_finite(scale=0.0 if scale is None else scale)
        self.chunk, self.given_scale = chunk, scale
        self.places = scale is None

    def attend(self, q: Tensor, k: Tensor, v: Tensor, height: int, width: int) -> Tensor:
        chunks = zip(q.split(self.chunk), k.split(self.chunk), v.split(self.chunk), strict=True)
        scale = 1 / height if self.given_scale is None else self.given_scale
        return torch.cat([_attend_together(*chunk, scale=scale) for chunk in chunks])

    def extra_repr(self) -> str:
        scale = "1 / H" if self.given_scale is None else self.given_scale
        return f"num_heads={self.num_heads}, scale={scale}, chunk={self.chunk}"


def _attend_together(q: Tensor, k: Tensor, v: Tensor, *, scale: float) -> Tensor:
    steps = len(q)
    q, k, v = (x.movedim(0, -3).flatten(-3, -2) for x in (q, k, v))  # B M chunk N D as B M (chunk N) D
    return spike_attention(q, k, v, scale).unflatten(-2, (steps, -1)).movedim(-3, 0)
