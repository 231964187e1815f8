"""No position: the control."""

from torch import Tensor, nn

from spikeformers.layers.contracts import COUNTS, CURRENT, SPIKES
from spikeformers.layers.conv import ConvNorm


class NoPosition(nn.Module):
    """ConvPosition with a 1x1 convolution, without neighbours: `[T, B, C, H, W] spikes -> [T, B, C, H, W] current`.

    The control for position codes: the same layers and neurons. C^2 additions per token. Released code: none.
    """

    emits, takes = CURRENT, (SPIKES, COUNTS)

    def __init__(self, dim: int):
        super().__init__()
        self.proj = ConvNorm(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x)
