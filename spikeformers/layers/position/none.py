"""No position: the control."""

from torch import Tensor, nn

from spikeformers.layers.contracts import COUNTS, CURRENT, SPIKES
from spikeformers.layers.conv import ConvNorm


class NoPosition(nn.Module):
    """ConvPosition that sees no neighbours, a 1x1 convolution: `[T, B, C, H, W] spikes -> [T, B, C, H, W] current`.

    The control for a position code: as many layers and neurons, and every token for itself. C^2 additions a token.
    """

    emits, takes = CURRENT, (SPIKES, COUNTS)

    def __init__(self, dim: int):
        super().__init__()
        self.proj = ConvNorm(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x)
