"""From the stream to logits."""

from torch import Tensor, nn

from spikeformers.layers.contracts import MakeNeuron


class Head(nn.Module):
    """Mean over space, then a linear layer, at every step: `[T, B, C, H, W] stream -> [T, B, K] logits`.

    It reads the stream as it is, without a neuron. Spikformer, arXiv:2209.15425.
    """

    def __init__(self, dim: int, num_classes: int, neuron: MakeNeuron, *, bias: bool = True):
        super().__init__()
        self.num_classes = num_classes
        self.linear = _linear(dim, num_classes, bias=bias)

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


class DistilledHead(nn.Module):
    """SpikingHead with a second linear layer, which learns from a teacher: `[T, B, C, H, W] -> [T, B, K] logits`.

    The two share the neuron, and the answer is their average. Meta-SpikeFormer, arXiv:2404.03663, after DeiT.
    """

    def __init__(self, dim: int, num_classes: int, neuron: MakeNeuron):
        super().__init__()
        self.num_classes = num_classes
        self.neuron = neuron()
        self.linear, self.linear_kd = _linear(dim, num_classes), _linear(dim, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        by_labels, by_teacher = self.forward_heads(x)
        return (by_labels + by_teacher) / 2

    def forward_heads(self, x: Tensor) -> tuple[Tensor, ...]:
        """The logits for the labels and for the teacher, for losses: `[T, B, C, H, W] -> ([T, B, K], [T, B, K])`."""
        spikes = self.neuron(x.mean((-2, -1)))
        return self.linear(spikes), self.linear_kd(spikes)


class HalfSpikingHead(DistilledHead):
    """DistilledHead whose first linear layer reads the mean without the neuron: `[T, B, C, H, W] -> [T, B, K]`.

    Only the layer that learns from the teacher sees spikes. Spike-driven Transformer V3, arXiv:2411.16061, large.
    """

    def forward_heads(self, x: Tensor) -> tuple[Tensor, ...]:
        """The logits for the labels and for the teacher, for losses: `[T, B, C, H, W] -> ([T, B, K], [T, B, K])`."""
        mean = x.mean((-2, -1))
        return self.linear(mean), self.linear_kd(self.neuron(mean))


def _linear(dim: int, num_classes: int, *, bias: bool = True) -> nn.Linear:
    if num_classes < 1:
        raise ValueError(f"num_classes {num_classes} is below 1: a head needs a class to name")
    linear = nn.Linear(dim, num_classes, bias=bias)
    nn.init.trunc_normal_(linear.weight, std=0.02)
    if bias:
        nn.init.zeros_(linear.bias)
    return linear
