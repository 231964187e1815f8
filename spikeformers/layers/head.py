"""Heads: from the stream to logits."""

from torch import Tensor, nn
from torch.nn.functional import conv1d

from spikeformers.layers.contracts import MakeNeuron, MakeQuantizer
from spikeformers.layers.linear import Linear
from spikeformers.layers.norm import batch_norm
from spikeformers.layers.synchronised import spans_processes, variance_across
from spikeformers.ops.arguments import check_whole
from spikeformers.ops.steps import check_horizon


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

    Only the teacher's layer reads spikes. The head of the large Spike-driven Transformer V3, arXiv:2411.16061. Released
    code: equal, to 1e-6 in V3's logits.
    """

    def forward_heads(self, x: Tensor) -> tuple[Tensor, ...]:
        """The logits for the labels and for the teacher, for losses: `[T, B, C, H, W] -> ([T, B, K], [T, B, K])`."""
        mean = x.mean((-2, -1))
        return self.linear(mean), self.linear_kd(self.neuron(mean))

    def pool(self, x: Tensor) -> Tensor:
        """The average of the two linear layers' inputs: `[T, B, C, H, W] -> [T, B, C]`."""
        mean = x.mean((-2, -1))
        return (mean + self.neuron(mean)) / 2


class SpatioTemporalHead(_LinearHead):
    """A weight per channel, token and step in place of the mean: `[T, B, C, H, W] stream -> [T, B, K] logits`.

        y[t] = linear(norm(T sum over tokens of weight[t] x[t] + bias))

    Averaged over all `time_steps`, `y` is what the paper's block returns, which sums over steps and whose norm (linear
    in evaluation) uses that sum's statistics. Averaging only the first steps gives an early answer. The weights fix the
    number of tokens and the largest number of steps. N C multiplications per step in place of the mean's additions.
    SGLFormer, Zhang et al., Frontiers in Neuroscience 2024. Released code: equal, to 1e-6 in SGLFormer's logits.

    Raises ValueError, when called, for a map without exactly `tokens` tokens and for more than `time_steps` steps.
    """

    remembers, mixes = ("seen",), "read"

    def __init__(self, dim: int, num_classes: int, neuron: MakeNeuron, *, tokens: int = 64, time_steps: int = 4):
        super().__init__()
        check_whole(dim=dim, tokens=tokens, time_steps=time_steps)
        self.dim, self.tokens, self.steps = dim, tokens, time_steps
        self.conv = nn.Conv2d(dim, dim, (tokens, time_steps), groups=dim)
        self.norm = nn.BatchNorm2d(dim)
        self.reset(num_classes)

    def pool(self, x: Tensor) -> Tensor:
        """What the linear layer reads: `[T, B, C, H, W] -> [T, B, C]`."""
        steps = self.read(x)[..., None, None]
        if not self.norm.training:
            return batch_norm(self.norm, steps).flatten(2)
        whole = steps.mean(0, keepdim=True)
        shared = spans_processes(self.norm)
        variance = variance_across(whole) if shared else whole.var((0, 1, 3, 4), correction=0)
        scale = self.norm.weight * (variance + self.norm.eps).rsqrt()
        return (batch_norm(self.norm, whole) + (steps - whole) * scale.view(-1, 1, 1)).flatten(2)

    def read(self, x: Tensor) -> Tensor:
        """The steps' parts of the sum, times T: `[T, B, C, H, W] -> [T, B, C] current`."""
        self._check(len(x), x)
        kernel = self.conv.weight[..., : len(x)].permute(3, 0, 1, 2)  # T C 1 N
        y = conv1d(x.transpose(0, 1).flatten(3).flatten(1, 2), kernel.flatten(0, 1), groups=len(x) * self.dim)
        return self._biased(y.view(-1, len(x), self.dim).transpose(0, 1))

    def initial(self, x: Tensor) -> tuple[Tensor]:
        """What it remembers before the first step, the number of steps seen: `[B, C, H, W] -> [B]`."""
        return (x.new_zeros(len(x)),)

    def step(self, x: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """One step of `read`: `[B, C, H, W], [B] -> [B, C], [B]`."""
        check_horizon(type(self).__name__, "weights", seen, self.steps)
        self._check(1, x)
        kernel = self.conv.weight.permute(3, 0, 1, 2)[seen.long()]  # B C 1 N
        y = conv1d(x.flatten(2).flatten(0, 1)[None], kernel.flatten(0, 1), groups=len(x) * self.dim)
        return self._biased(y.view(-1, self.dim)), seen + 1

    def _biased(self, current: Tensor) -> Tensor:
        assert self.conv.bias is not None
        return self.steps * current + self.conv.bias

    def _check(self, steps: int, x: Tensor) -> None:
        height, width = x.shape[-2:]
        if height * width != self.tokens:
            raise ValueError(
                f"the head has weights for {self.tokens} tokens and a map of {height} x {width} has {height * width}: "
                "resize the images, or train a model that is built for them (its image_size, or the head's tokens)"
            )
        if steps > self.steps:
            raise ValueError(
                f"the head has weights for {self.steps} steps and the input has {steps}: "
                f"give the first {self.steps}, or train a model that is built with time_steps={steps}"
            )

    def extra_repr(self) -> str:
        return f"tokens={self.tokens}, time_steps={self.steps}"


def _linear(dim: int, num_classes: int, bias: bool) -> Linear:
    linear = Linear(dim, num_classes, bias=bias)
    nn.init.trunc_normal_(linear.weight, std=0.02)
    if bias:
        nn.init.zeros_(linear.bias)
    return linear
