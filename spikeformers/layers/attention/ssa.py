"""Spiking self-attention, the base class of its variants."""

import inspect
from typing import Any, TypedDict, Unpack, get_args, get_origin

from torch import Tensor, nn

from spikeformers.layers.attention.heads import check_heads, merge_heads, split_heads
from spikeformers.layers.contracts import MakeNeuron, MakeProjection
from spikeformers.layers.conv import ConvNorm
from spikeformers.ops.arguments import check_finite
from spikeformers.ops.spike_attention import spike_attention


class ProjectionArguments(TypedDict, total=False):
    """Arguments that variants with their own scale pass to `SSA`."""

    bias: bool
    proj_bias: bool
    attn_threshold: float
    attn_neuron: MakeNeuron | None
    projection: MakeProjection


class SSAArguments(ProjectionArguments, total=False):
    """Arguments that variants pass to `SSA`."""

    scale: float


class SSA(nn.Module):
    """Attention between spikes, without softmax: `[T, B, C, H, W] spikes -> [T, B, C, H, W] current`.

        q, k, v = neuron(ConvNorm(x))                          0 or 1
        y = attn_neuron(scale q k^T v), threshold 0.5          0 or 1
        return ConvNorm(y)                                     current

    min(2 N^2 C, 2 N C D) additions per step, and N C^2 in each of the four projections. `bias` is that of the q, k, v
    convolutions, `proj_bias` that of the last. `projection` makes all four layers. With `RepConv` this is SDSA-3, the
    matrix form of `SDSA` in Meta-SpikeFormer, arXiv:2404.03663; with it, independent runs of Spikformer on CIFAR-10
    rose from 95.12 to 95.57 %. A variant overrides `attend` and passes `**ssa: Unpack[SSAArguments]` on.

    `scale` does not depend on the head width. `attn_threshold` is the threshold of the neuron after the products;
    `attn_neuron` makes that neuron, or `neuron` if it is None.
    Spikformer, Zhou et al., ICLR 2023, arXiv:2209.15425; its last neuron is in the shortcut here. Released code: equal,
    to 1e-6 in Spikformer's logits.

    Raises ValueError if `dim` is not a multiple of `num_heads`.
    """

    # Variants inherit. The other way was tried: `SSA(mix=...)`, with a small module for each mix. It computes the same,
    # but needs a slot for mixes, builders that join two signatures, and new keys for the five variants with weights of
    # their own; and a reader's idea would be a module and a builder instead of one method.
    def __init_subclass__(cls, **settings: Any) -> None:
        """Expands `**ssa` in a variant's signature, which settings files and documents read."""
        super().__init_subclass__(**settings)
        _, *own = inspect.signature(cls.__init__).parameters.values()
        if own and get_origin(own[-1].annotation) is Unpack:
            (passed_on,) = get_args(own.pop().annotation)
            inherited = inspect.signature(cls.__mro__[1]).parameters
            own += [p for name, p in inherited.items() if name in passed_on.__annotations__]
        cls.__signature__ = inspect.Signature(own)

    def __init__(
        self,
        dim: int,
        num_heads: int,
        neuron: MakeNeuron,
        *,
        bias: bool = False,
        proj_bias: bool = True,
        scale: float = 0.125,
        attn_threshold: float = 0.5,
        attn_neuron: MakeNeuron | None = None,
        projection: MakeProjection = ConvNorm,
    ):
        super().__init__()
        check_heads(dim, num_heads)
        check_finite(scale=scale, attn_threshold=attn_threshold)
        self.num_heads, self.scale = num_heads, scale
        self.q, self.k, self.v = (projection(dim, dim, bias=bias) for _ in range(3))
        self.q_neuron, self.k_neuron, self.v_neuron = neuron(), neuron(), neuron()
        self.attn_neuron = (attn_neuron or neuron)(v_threshold=attn_threshold)
        self.proj = projection(dim, dim, bias=proj_bias)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        q = split_heads(self.q_neuron(self.q(x)), self.num_heads)  # T B M N D
        k = split_heads(self.k_neuron(self.k(x)), self.num_heads)
        v = split_heads(self.v_neuron(self.v(x)), self.num_heads)
        y = merge_heads(self.attend(q, k, v, height, width), x)  # T B C H W
        return self.proj(self.attn_neuron(y))

    def attend(self, q: Tensor, k: Tensor, v: Tensor, height: int, width: int) -> Tensor:
        """Sums values for each token, from q, k and v: `[T, B, M, N, D] spikes -> [T, B, M, N, D] current`."""
        return spike_attention(q, k, v, self.scale)

    def extra_repr(self) -> str:
        kept = ((name, getattr(self, name, None)) for name in inspect.signature(type(self)).parameters)
        return ", ".join(f"{name}={value}" for name, value in kept if isinstance(value, int | float))
