"""From the stream to logits."""

from torch import Tensor, nn

from spikeformers.layers.contracts import MakeNeuron


class Head(nn.Module):
    """Mean over space, then a linear layer, at every step: `[T, B, C, H, W] stream -> [T, B, K] logits`.

    It reads the stream as it is, without a neuron. Spikformer, arXiv:2209.15425.
    """

    def __init__(self, dim: int, num_classes: int, neuron: MakeNeuron):
        super().__init__()
        self.num_classes = num_classes
        self.linear = _linear(dim, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.mean((-2, -1)))

    def forward_heads(self, x: Tensor) -> tuple[Tensor, ...]:
        """The logits of each head apart, for losses: `[T, B, C, H, W] -> ([T, B, K], ...)`."""
        return (self(x),)


class SpikingHead(nn.Module):
    """Mean over space, a neuron, a linear layer: `[T, B, C, H, W] stream -> [T, B, K] logits`.

    Spike-driven Transformer, arXiv:2307.01694.
    """

    def __init__(self, dim: int, num_classes: int, neuron: MakeNeuron):
        super().__init__()
        self.num_classes = num_classes
        self.neuron = neuron()
        self.linear = _linear(dim, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.neuron(x.mean((-2, -1))))

    def forward_heads(self, x: Tensor) -> tuple[Tensor, ...]:
        """The logits of each head apart, for losses: `[T, B, C, H, W] -> ([T, B, K], ...)`."""
        return (self(x),)


def _linear(dim: int, num_classes: int) -> nn.Linear:
    if num_classes < 1:
        raise ValueError(f"num_classes {num_classes} is below 1: a head needs a class to name")
    linear = nn.Linear(dim, num_classes)
    nn.init.trunc_normal_(linear.weight, std=0.02)
    nn.init.zeros_(linear.bias)
    return linear
