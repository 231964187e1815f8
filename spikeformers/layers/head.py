"""Heads: from the stream to logits."""

from torch import Tensor, nn

from spikeformers.layers.contracts import MakeNeuron, MakeQuantizer
from spikeformers.layers.linear import Linear
from spikeformers.ops.arguments import check_whole


class _LinearHead(nn.Module):
    """A base class of heads: linear layers, named in `classifiers`, that can be replaced for other classes."""

    classifiers: tuple[str, ...] = ("linear",)
    linear: nn.Module
    dim: int
    bias: bool = True
    _make_quantizer: MakeQuantizer | None = None

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.pool(x))

    def forward_heads(self, x: Tensor) -> tuple[Tensor, ...]:
        """The logits of each classifier, for losses: `[T, B, C, H, W] -> ([T, B, K], ...)`."""
        return (self(x),)

    def pool(self, x: Tensor) -> Tensor:
        """What the linear layer reads: `[T, B, C, H, W] -> [T, B, C]`."""
        raise NotImplementedError

    def reset(self, num_classes: int) -> None:
        """Replaces the linear layers by new ones; for 0 classes by none, so that the head returns their input.

        Raises ValueError for fewer than 0.
        """
        check_whole(dim=self.dim)
        check_whole(0, "give as many as there are to name, 0 for features", num_classes=num_classes)
        self.num_classes = num_classes
        for name in self.classifiers:
            if isinstance(before := getattr(self, name, None), Linear):
                self._make_quantizer = before.makes_quantizer  # kept while there are no classes
            linear = _linear(self.dim, num_classes, self.bias) if num_classes else nn.Identity()
            if isinstance(linear, Linear):
                linear.quantize(self._make_quantizer)
            self.add_module(name, linear)


class Head(_LinearHead):
    """Mean over space and a linear layer, at every step: `[T, B, C, H, W] stream -> [T, B, K] logits`.

    There is no neuron before the mean. Spikformer, arXiv:2209.15425. Released code: equal, to 1e-6 in Spikformer's
    logits.
    """

    def __init__(self, dim: int, num_classes: int, neuron: MakeNeuron, *, bias: bool = True):
        super().__init__()
        self.dim, self.bias = dim, bias
        self.reset(num_classes)

    def pool(self, x: Tensor) -> Tensor:
        """What the linear layer reads: `[T, B, C, H, W] -> [T, B, C]`."""
        return x.mean((-2, -1))


class SpikingHead(_LinearHead):
    """Mean over space, a neuron, a linear layer: `[T, B, C, H, W] stream -> [T, B, K] logits`.

    Spike-driven Transformer, arXiv:2307.01694. Released code: equal, to 1e-6 in SDT's logits.
    """

    def __init__(self, dim: int, num_classes: int, neuron: MakeNeuron):
        super().__init__()
        self.dim, self.neuron = dim, neuron()
        self.reset(num_classes)

    def pool(self, x: Tensor) -> Tensor:
        """What the linear layer reads: `[T, B, C, H, W] -> [T, B, C] spikes`."""
        return self.neuron(x.mean((-2, -1)))


class DistilledHead(SpikingHead):
    """SpikingHead with a second linear layer for a teacher: `[T, B, C, H, W] -> [T, B, K] logits`.

    Both read the same neuron; the logits are their average. Meta-SpikeFormer, arXiv:2404.03663, after DeiT. Released
    code: equal, to 1e-6 in Meta-SpikeFormer's logits.
    """

    classifiers = ("linear", "linear_kd")
    linear_kd: nn.Module

    def forward(self, x: Tensor) -> Tensor:
        by_labels, by_teacher = self.forward_heads(x)
        return (by_labels + by_teacher) / 2

    def forward_heads(self, x: Tensor) -> tuple[Tensor, ...]:
        """The logits for the labels and for the teacher, for losses: `[T, B, C, H, W] -> ([T, B, K], [T, B, K])`."""
        spikes = self.pool(x)
        return self.linear(spikes), self.linear_kd(spikes)


class HalfSpikingHead(DistilledHead):
    """DistilledHead whose first linear layer reads the mean without the neuron: `[T, B, C, H, W] -> [T, B, K]`.

    Only the teacher's layer reads spikes. Spike-driven Transformer V3, arXiv:2411.16061, large. Released code: equal,
    to 1e-6 in V3's logits.
    """

    def forward_heads(self, x: Tensor) -> tuple[Tensor, ...]:
        """The logits for the labels and for the teacher, for losses: `[T, B, C, H, W] -> ([T, B, K], [T, B, K])`."""
        mean = x.mean((-2, -1))
        return self.linear(mean), self.linear_kd(self.neuron(mean))

    def pool(self, x: Tensor) -> Tensor:
        """The average of the two linear layers' inputs: `[T, B, C, H, W] -> [T, B, C]`."""
        mean = x.mean((-2, -1))
        return (mean + self.neuron(mean)) / 2


def _linear(dim: int, num_classes: int, bias: bool) -> Linear:
    linear = Linear(dim, num_classes, bias=bias)
    nn.init.trunc_normal_(linear.weight, std=0.02)
    if bias:
        nn.init.zeros_(linear.bias)
    return linear
