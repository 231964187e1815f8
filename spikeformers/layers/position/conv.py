"""Position from a convolution over neighbours."""

from torch import Tensor, nn

from spikeformers.layers.contracts import COUNTS, CURRENT, SPIKES
from spikeformers.layers.conv import ConvNorm


class ConvPosition(nn.Module):
    """Conditional position as a 3x3 convolution: `[T, B, C, H, W] spikes -> [T, B, C, H, W] current`.

    9 C^2 additions per token. The last step of Spikformer's patch splitting, RPE, arXiv:2209.15425.
    """

    emits, takes = CURRENT, (SPIKES, COUNTS)

    def __init__(self, dim: int):
        super().__init__()
        self.proj = ConvNorm(dim, dim, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x)
