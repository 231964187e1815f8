"""Position from a convolution's view of the neighbours."""

from torch import Tensor, nn

from spikeformers.layers.contracts import COUNTS, CURRENT, SPIKES
from spikeformers.layers.conv import ConvNorm


class ConvPosition(nn.Module):
    """Conditional position as a 3x3 convolution: `[T, B, C, H, W] spikes -> [T, B, C, H, W] current`.

    Costs 9 C^2 additions a token. The last step of Spikformer's patch splitting, arXiv:2209.15425, where it is called
    RPE.
    """

    emits, takes = CURRENT, (SPIKES, COUNTS)

    def __init__(self, dim: int):
        super().__init__()
        self.proj = ConvNorm(dim, dim, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x)
