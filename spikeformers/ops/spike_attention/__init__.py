"""Attention without softmax: a product of three spike tensors, in the cheaper of its two orders."""

from torch import Tensor

from spikeformers.ops.spike_attention import reference


def spike_attention(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """`scale (q k^T) v` over tokens: `[..., N, D], [..., N, D], [..., N, E] spikes -> [..., N, E] current`.

    Without a softmax the product associates, so it costs min(N N (D + E), 2 N D E) multiplications a head. On spikes
    every partial sum is an integer: both orders give the same number as long as the dtype counts that far.
    """
    tokens, width, value_width = q.shape[-2], q.shape[-1], v.shape[-1]
    values_first = 2 * width * value_width <= tokens * (width + value_width)
    return (reference.values_first if values_first else reference.scores_first)(q, k, v) * scale
