"""Attention without softmax: the product of three spike tensors, in the cheaper order."""

from torch import Tensor

from spikeformers.ops.spike_attention import reference


def spike_attention(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """`scale (q k^T) v` over tokens: `[..., N, D], [..., N, D], [..., N, E] spikes -> [..., N, E] current`.

    Without a softmax the product is associative and costs min(N N (D + E), 2 N D E) multiplications per head. Partial
    sums of spikes are integers, so both orders agree exactly while the dtype represents them.

    Args:
        q: Queries.
        k: Keys.
        v: Values.
        scale: Factor of the result.

    Returns:
        The current that each token gets.
    """
    tokens, width, value_width = q.shape[-2], q.shape[-1], v.shape[-1]
    values_first = 2 * width * value_width <= tokens * (width + value_width)
    return (reference.values_first if values_first else reference.scores_first)(q, k, v) * scale
