"""The linear layer of heads, and what it has in common with convolutions: weights that may be quantised."""

from typing import Any

from torch import Tensor, nn
from torch.nn.functional import linear

from spikeformers.layers.contracts import MakeQuantizer


class QuantizableLayer(nn.Module):
    """A base class of layers whose `weight` a `quantizer` may round before each product; there is none at first."""

    weight: nn.Parameter
    _make: MakeQuantizer | None = None

    def __init__(self, *args: Any, **settings: Any):
        super().__init__(*args, **settings)
        self.quantizer: nn.Module | None = None

    def quantize(self, make: MakeQuantizer | None) -> None:
        """Gives it a quantiser made for its present weights, or, with None, takes it away."""
        self._make, self.quantizer = make, None if make is None else make(self.weight)

    @property
    def makes_quantizer(self) -> MakeQuantizer | None:
        """The callable that made its quantiser, to make another like it."""
        return self._make

    def used_weight(self) -> Tensor:
        """What the layer multiplies by."""
        return self.weight if self.quantizer is None else self.quantizer(self.weight)


class Linear(QuantizableLayer, nn.Linear):
    """`nn.Linear` whose weights may be quantised: `[..., C_in] -> [..., C]`."""

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.used_weight(), self.bias)
