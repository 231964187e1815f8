"""Token pruning in the arithmetic of the released code."""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from spikeformers.layers.pruning.token_pruning import TokenPruning


class ReleasedTokenPruning(TokenPruning):
    """TokenPruning in the arithmetic of the released code: `[T, B, C, H, W] stream -> [T, B, C, H, W] stream`.

        temporal = softmax over tokens of mean_(t > 1) |m_t - m_(t-1)|      m_t as in `TokenPruning`; 0 if T is 1
        spatial = softmax over tokens of -sign(near) sum_c x_c / (sqrt(C) |x|)        x the mean over t
        score = temporal + spatial

    `near` is the mean of sum_c x_c over kernel_size x kernel_size tokens: the released kernel sums over all channels,
    so all share one local mean, and only its sign remains in the cosine. If no value is negative, as in QKFormer,
    neighbours have no influence. int(keep H) int(keep W) tokens are kept: `keep` is a share of each side. 5 C real
    operations per token and step. With T = 1 the released temporal score is NaN and the choice arbitrary; here it is
    left out, as in the released V3. TP-Spikformer, Zhou et al., ICLR 2026, arXiv:2603.00527. Released code: equal, to
    1e-6 in the logits of QKFormer (kernel_size 7), SDT and V3 (kernel_size 3).

    It was released with a `keep` of .9 .9 .8 .8 .8 .8 .8 .75 .75 .75 for QKFormer-10, of 12 12 10 10 10 10 8 8
    fourteenths for SDT-8, and of .9 .8 .8 .8 .75 .65 .65 .65 for V3. Errors as for `TokenPruning`.
    """

    def kept(self, height: int, width: int) -> int:
        """How many tokens of a map go through the block."""
        return max(1, int(height * self.keep) * int(width * self.keep))

    def score(self, x: Tensor) -> Tensor:
        """The scores of tokens, of which the highest are chosen: `[T, B, C, H, W] -> [B, N]`."""
        mean, total = x.mean(0), x.mean(0).sum(1, keepdim=True)  # B C H W
        near = avg_pool2d(total, self.kernel_size, 1, self.kernel_size // 2)
        length = mean.norm(dim=1, keepdim=True).clamp_min(torch.finfo(x.dtype).tiny) * x.shape[2] ** 0.5
        score = (-near.sign() * total / length).flatten(1).softmax(1)
        if len(x) > 1:
            score = score + x.mean(2).diff(dim=0).abs().mean(0).flatten(1).softmax(1)
        return score
