"""Blocks that run on the tokens that change most in time and differ most from their neighbours."""

from collections import OrderedDict
from collections.abc import Sequence
from math import ceil
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, cosine_similarity

from spikeformers.layers.contracts import declared
from spikeformers.layers.conv import check_odd
from spikeformers.layers.time import merge_time, split_time
from spikeformers.ops.arguments import check_finite


class TokenPruning(nn.Sequential):
    """A block on the share `keep` of its tokens, without training: `[T, B, C, H, W] stream -> [T, B, C, H, W] stream`.

        m_t = mean over channels of x_t                                     m_0 = 0
        temporal_t = |m_t - m_(t-1)|
        spatial_t = -cos(x_t, mean of x_t over kernel_size x kernel_size)   over channels, zeros beyond the border
        score = mean over t of their sum, each scaled to [0, 1] over the tokens of a step

    The ceil(keep H W) tokens with the highest scores go through the block's attention and what follows it; the others
    pass unchanged. The choice is the same at all steps, because neurons have state, and each block chooses anew.
    Whatever comes before the attention, such as V3's convolution, sees the whole map. Kept tokens attend to each other
    only, so a block's projections cost `keep` of what they did, and its N^2 products keep^2. The choice costs
    (kernel_size^2 + 4) C real operations per token and step, and has no parameters and no gradient. Norms in training
    see the kept tokens only.

    `keep` is a number, or one for each attention block of the model. After TP-Spikformer, Zhou et al., ICLR 2026,
    arXiv:2603.00527. We could not read the paper and follow descriptions of it by others. Released code: differs, see
    `ReleasedTokenPruning`.

    Raises ValueError for a `keep` outside (0, 1], for a number of them that is not the number of blocks, and for a
    block that convolves or pools after its attention, or whose attention reads places, where tokens need their map.
    """

    causal = False  # the choice is by all steps

    def __init__(
        self,
        block: nn.Sequential,
        number: int,
        count: int,
        *,
        keep: float | Sequence[float] = 0.75,
        kernel_size: int = 3,
    ):
        check_odd(kernel_size)
        kept: list[Any] = [*keep] if isinstance(keep, list | tuple) else [keep] * count
        if len(kept) != count:
            raise ValueError(f"keep {keep} is for {len(kept)} blocks: give one number, or one for each of {count}")
        check_finite(keep=kept[number])
        if not 0 < kept[number] <= 1:
            raise ValueError(f"keep {kept[number]} is not in (0, 1]: give the share of tokens that pass the block")
        super().__init__(OrderedDict(block.named_children()))
        self.keep, self.kernel_size = float(kept[number]), kernel_size
        names = [*dict(self.named_children())]
        self._first = names.index("attn")  # of the parts that see fewer tokens
        for name, part in [*self.named_children()][self._first :]:
            _check_apart(name, part)

    def forward(self, input: Tensor) -> Tensor:
        with torch.no_grad():
            precise = input.to(torch.promote_types(input.dtype, torch.float32))
            chosen = self.score(precise).topk(self.kept(*input.shape[-2:])).indices  # B K
        x = input
        parts = [*self.children()]
        for part in parts[: self._first]:
            x = part(x)
        x = x.flatten(3)  # T B C N
        places = chosen[None, :, None].expand(*x.shape[:3], -1)
        tokens = x.gather(3, places)[:, :, :, None]  # T B C 1 K
        for part in parts[self._first :]:
            tokens = part(tokens)
        return x.scatter(3, places, tokens[:, :, :, 0].to(x.dtype)).view(input.shape)

    def kept(self, height: int, width: int) -> int:
        """How many tokens of a map go through the block."""
        return ceil(self.keep * height * width)

    def score(self, x: Tensor) -> Tensor:
        """The scores of tokens, of which the highest are chosen: `[T, B, C, H, W] -> [B, N]`."""
        near = split_time(avg_pool2d(merge_time(x), self.kernel_size, 1, self.kernel_size // 2), x.shape[0])
        spatial = -cosine_similarity(x, near, dim=2).flatten(2)  # T B N
        mean = x.mean(2).flatten(2)
        temporal = torch.cat([mean[:1], mean[1:] - mean[:-1]]).abs()
        return (_scaled(spatial) + _scaled(temporal)).mean(0)

    def extra_repr(self) -> str:
        return f"keep={self.keep:.4g}, kernel_size={self.kernel_size}"


def _scaled(score: Tensor) -> Tensor:
    """To [0, 1] over the tokens, the last axis; 0 where all are equal."""
    low, high = score.amin(-1, keepdim=True), score.amax(-1, keepdim=True)
    return (score - low) / (high - low).clamp_min(torch.finfo(score.dtype).tiny)


def _check_apart(name: str, part: nn.Module) -> None:
    """Raises ValueError if a part reads a token's neighbours by their places."""
    for inside in part.modules():
        if declared(inside, "places"):
            raise ValueError(
                f"the block's {name} has {type(inside).__name__}, which reads the places of tokens: prune blocks with "
                "another attention, such as SSA"
            )
        size: Any = vars(inside).get("kernel_size", 1)
        if isinstance(size, tuple | int) and max(size if isinstance(size, tuple) else (size,)) > 1:
            raise ValueError(
                f"the block's {name} has {type(inside).__name__} of kernel size {size}, which needs all tokens in "
                "their places: prune blocks whose attention and MLP are 1 x 1"
            )
