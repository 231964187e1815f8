"""Position as the spikes of a central pattern generator."""

import math

import torch
from torch import Tensor, nn

from spikeformers.layers.contracts import COUNTS, CURRENT, SPIKES
from spikeformers.layers.conv import SpikeConv2d
from spikeformers.layers.norm import batch_norm
from spikeformers.layers.time import merge_time, split_time
from spikeformers.ops.arguments import check_positive, check_whole
from spikeformers.ops.steps import by_sample


class CPGPosition(nn.Module):
    """Oscillators whose spikes encode step and token: `[T, B, C, H, W] spikes -> [T, B, C, H, W] current`.

        position = t N + n
        bits = [sin(position w_i) >= 0.8, cos(position w_i) >= 0.8],   w_i = w_max^(-2i / cells), i = 0 .. cells / 2 - 1
        return norm(stream(x) + code(bits))                            two 1x1 convolutions

    C^2 additions per token; the code is independent of the input, so at inference it is a bias per position and step.
    Any image size and number of steps. CPG-PE, Lv et al., NeurIPS 2024, arXiv:2405.14362. Released code: equal, to
    1e-14.

    Raises ValueError for an odd number of cells.
    """

    emits, takes = CURRENT, (SPIKES, COUNTS)
    remembers = ("t",)

    def __init__(self, dim: int, *, cells: int = 20, w_max: float = 1e4):
        super().__init__()
        check_whole(dim=dim, cells=cells)
        check_positive(w_max=w_max)
        if cells % 2:
            raise ValueError(
                f"cells {cells} are not pairs of a sine and a cosine: give an even number, such as 10 to 40"
            )
        self.cells, self.w_max = cells, w_max
        self.stream, self.code = SpikeConv2d(dim, dim, 1, bias=False), SpikeConv2d(cells, dim, 1, bias=False)
        self.norm = nn.BatchNorm2d(dim)

    def forward(self, x: Tensor) -> Tensor:
        steps, _, _, height, width = x.shape
        positions = torch.arange(steps * height * width, device=x.device).view(steps, height, width)
        bits = self.bits(positions, x)  # T H W cells
        code = self.code(bits.permute(0, 3, 1, 2))[:, None]  # T 1 C H W
        return batch_norm(self.norm, split_time(self.stream(merge_time(x)), steps) + code)

    def initial(self, x: Tensor) -> tuple[Tensor]:
        return (x.new_zeros(len(x), dtype=torch.int64),)

    def step(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        height, width = x.shape[-2:]
        tokens = torch.arange(height * width, device=x.device).view(height, width)
        bits = self.bits(by_sample(t, x[:, 0]) * (height * width) + tokens, x)  # B H W cells
        return self.norm(self.stream(x) + self.code(bits.permute(0, 3, 1, 2))), t + 1

    def bits(self, positions: Tensor, like: Tensor) -> Tensor:
        """The codes of positions, `[...] -> [..., cells]` of 0 and 1, in dtype and device of `like`."""
        # in float64, so that the model's precision does not move a sine across 0.8
        position = positions.to(torch.float64)[..., None]
        half = torch.arange(self.cells // 2, device=like.device, dtype=torch.float64)
        angle = position * torch.exp(half * (-2 * math.log(self.w_max) / self.cells))
        return (torch.stack([angle.sin(), angle.cos()], -1) >= 0.8).flatten(-2).to(like.dtype)

    def extra_repr(self) -> str:
        return f"cells={self.cells}, w_max={self.w_max:g}"
