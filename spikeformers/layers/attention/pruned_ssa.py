"""Spiking self-attention over the most active tokens."""

from typing import Unpack

from torch import Tensor

from spikeformers.layers.attention.ssa import SSA, SSAArguments
from spikeformers.layers.contracts import MakeNeuron
from spikeformers.ops.arguments import check_finite
from spikeformers.ops.spike_attention import spike_attention


class PrunedSSA(SSA):
    """SSA over the share `keep` of tokens that fire most: `[T, B, C, H, W] spikes -> [T, B, C, H, W] current`.

        busy[n] = 1 if token n is among the round(keep N) with most spikes in q, k and v at this step; ties are kept
        y = attn_neuron(scale (busy q) (busy k)^T (busy v)), threshold 0.5

    Tokens are chosen per sample and step, over all heads; a dropped token has no query, key or value. The choice costs
    3 N C additions per step, and as many masks. On hardware that skips zeros the products cost keep^2 of SSA's N^2 C
    additions, or keep of its N C D; here they are computed in full. After SparseSpikformer, arXiv:2311.08806, which
    also chooses by firing. Released code: differs, a learned predictor on the mean over time keeps the same int(keep N)
    tokens at all steps, so it looks ahead. In training it masks only keys, and each token still sees itself.

    Raises ValueError if `dim` is not a multiple of `num_heads`, and for a `keep` outside (0, 1].
    """

    def __init__(self, dim: int, num_heads: int, neuron: MakeNeuron, *, keep: float = 0.5, **ssa: Unpack[SSAArguments]):
        super().__init__(dim, num_heads, neuron, **ssa)
        check_finite(keep=keep)
        if not 0 < keep <= 1:
            raise ValueError(f"keep {keep} is not in (0, 1]: give the share of tokens that attend")
        self.keep = keep

    def attend(self, q: Tensor, k: Tensor, v: Tensor, height: int, width: int) -> Tensor:
        fired = (q.abs() + k.abs() + v.abs()).detach().sum((2, 4), keepdim=True)  # T B 1 N 1
        kept = max(1, round(self.keep * fired.shape[3]))
        busy = (fired >= fired.topk(kept, dim=3).values[:, :, :, -1:]).to(q.dtype)
        return spike_attention(q * busy, k * busy, v * busy, self.scale)
