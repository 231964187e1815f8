"""Spike-driven Transformer V2, Meta-SpikeFormer: two convolution and two attention stages, with membrane shortcuts.

The first two stages mix with separable convolutions, the last two, both at stride 16, with an SSA whose projections
are chains of convolutions. It has no position part. Before 25 March 2024 the released code read its first head from the
mean itself, as V3's large sizes do (`head=HalfSpikingHead`); since then both heads read spikes, as here, which is what
reproduces the accuracy of the released 55M file. That file, of a model with both heads, was trained with time_steps=4.

Yao et al., "Spike-driven Transformer V2: Meta Spiking Neural Network Architecture Inspiring the Design of
Next-generation Neuromorphic Chips", ICLR 2024, arXiv:2404.03663.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

from torch import nn

from spikeformers.layers.attention import SSA
from spikeformers.layers.block import block
from spikeformers.layers.contracts import MakeAttention, MakeHead, MakeMLP, MakeNeuron, MakeShortcut, MakeStem
from spikeformers.layers.downsample import MembraneDownsample
from spikeformers.layers.head import DistilledHead, SpikingHead
from spikeformers.layers.mlp import MLP, SepConv
from spikeformers.layers.projection import RepConv
from spikeformers.layers.shortcut import MembraneShortcut
from spikeformers.layers.stem import StridedConv
from spikeformers.models.network import SpikingTransformer
from spikeformers.models.registry import Published, register
from spikeformers.models.stages import Stage
from spikeformers.models.trunk import spread
from spikeformers.neurons import LIF

_DIMS = {
    "sdt_v2_15m": (64, 128, 256, 360),
    "sdt_v2_31m": (96, 192, 384, 480),
    "sdt_v2_55m": (128, 256, 512, 640),
    "sdt_v2_124m": (192, 384, 768, 960),  # in the released code, not in the paper
}

SIZES = {
    **{name: dict(dims=dims) for name, dims in _DIMS.items()},
    **{f"{name}_kd": dict(dims=dims, head=DistilledHead) for name, dims in _DIMS.items()},
}

_published = partial(Published, data="ImageNet-1k", paper="arXiv:2404.03663")

PUBLISHED = {  # accuracies at T = 1; the 55m_kd that was released is for T = 4, at 80.0
    "sdt_v2_15m": _published(15_112_208, top1=71.8),
    "sdt_v2_31m": _published(31_333_864, top1=75.4),
    "sdt_v2_55m": _published(55_350_248, top1=78.0),
    "sdt_v2_124m": _published(123_741_160, top1=None),
    "sdt_v2_15m_kd": _published(15_473_208, top1=None),
    "sdt_v2_31m_kd": _published(31_814_864, top1=None),
    "sdt_v2_55m_kd": _published(55_991_248, top1=79.1),
    "sdt_v2_124m_kd": _published(124_702_160, top1=None),
}


def sdt_v2(
    *,
    dims: tuple[int, ...],
    depths: tuple[int, ...] = (6, 2),
    num_heads: int = 8,
    mlp_ratio: float = 4,
    drop_path: float = 0.0,
    in_channels: int = 3,
    num_classes: int = 1000,
    image_size: int = 224,
    time_steps: int = 1,
    neuron: MakeNeuron = LIF,
    stem: MakeStem = StridedConv,
    mixer_mlp: MakeMLP = SepConv,
    conv_mlp: MakeMLP = partial(MLP, kernel_size=3, bias=False),
    attention: MakeAttention = partial(SSA, projection=RepConv, proj_bias=False),
    mlp: MakeMLP = MLP,
    shortcut: MakeShortcut = MembraneShortcut,
    head: MakeHead = SpikingHead,
) -> SpikingTransformer:
    """A Meta-SpikeFormer `[B, C, H, W]` or `[T, B, C, H, W] -> [B, K]` of four stages, `dims` wide.

    The stem is half as wide as the first stage. `depths` are those of the two attention stages, the convolutional ones
    have two blocks each. `drop_path` grows linearly from 0 to its value over the blocks.

    Raises ValueError for other than four dims or two depths, and for an odd first dim.
    """
    if len(dims) != 4 or len(depths) != 2:
        raise ValueError(f"dims {dims} and depths {depths} are not four and two: give the widths of all four stages")
    rates = iter(spread(drop_path, 4 + sum(depths)))

    def conv_block(dim: int) -> nn.Module:
        mixer, conv = mixer_mlp(dim, 2 * dim, neuron), conv_mlp(dim, 4 * dim, neuron)
        return block(shortcut, neuron, drop_path=next(rates), mixer=mixer, mlp=conv)

    def attention_block(dim: int) -> nn.Module:
        attn, tokens = attention(dim, num_heads, neuron, bias=False), mlp(dim, int(mlp_ratio * dim), neuron)
        return block(shortcut, neuron, drop_path=next(rates), attn=attn, mlp=tokens)

    (third, fourth), (*_, dim3, dim4) = depths, dims
    return SpikingTransformer(
        stem=stem(in_channels, dims[0] // 2, neuron, (2,)),
        blocks=[
            *conv_stages(dims, neuron, conv_block),
            *(attention_block(dim3) for _ in range(third)),
            MembraneDownsample(dim3, dim4, neuron, stride=1),
            *(attention_block(dim4) for _ in range(fourth)),
        ],
        stages=[*conv_ends(dims), Stage(7 + third + fourth, dim4, 16)],
        head=head(dim4, num_classes, neuron),
        time_steps=time_steps,
        image_size=image_size,
    )


def renames(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """How the released code spells our keys: it counts the blocks of each stage apart."""
    third, fourth = config["depths"]
    return [
        *stage_renames(third),
        (r"^downsample4\.", f"blocks.{7 + third}.proj."),
        *((rf"^block4\.{i}\.", f"blocks.{8 + third + i}.") for i in range(fourth)),
        (r"\.encode_(conv|bn)\.", r".\1."),
        (r"\.Conv\.pwconv([12])\.", r".mixer.core.fc\1.conv."),
        (r"\.Conv\.bn([12])\.", r".mixer.core.fc\1.norm."),
        (r"\.Conv\.dwconv\.", r".mixer.core.depthwise."),
        (r"^(blocks\.\d+)\.(conv|bn)([12])\.", r"\1.mlp.core.fc\3.\2."),
        (r"\.attn\.([qkv]|proj)_conv\.", r".attn.core.\1."),
        (r"\.0\.body\.0\.", r".pointwise.conv."),
        (r"\.0\.body\.1\.bn\.", r".pointwise.norm."),
        (r"\.0\.body\.2\.0\.", r".depthwise."),
        (r"\.0\.body\.2\.1\.", r".proj.conv."),
        (r"\.0\.body\.2\.2\.", r".proj.norm."),
        (r"\.attn\.core\.(\w+)\.1\.", r".attn.core.\1.norm."),
        (r"\.mlp\.(fc[12])_(conv|bn)\.", r".mlp.core.\1.\2."),
        (r"\.bn\.", r".norm."),
        (r"^head\.(weight|bias)$", r"head.linear.\1"),
        (r"^head_kd\.", r"head.linear_kd."),
    ]


def conv_stages(dims: Sequence[int], neuron: MakeNeuron, conv_block: Callable[[int], nn.Module]) -> Iterator[nn.Module]:
    """The convolutional stages, up to and with the down-sampling after them. Raises ValueError for an odd first dim.

    The stem, at stride 2, and the first block are half as wide as the first stage.
    """
    if dims[0] % 2:
        raise ValueError(f"the first dim, {dims[0]}, is odd, and the stem is half as wide: try {dims[0] + 1}")
    widths = (dims[0] // 2, *dims[:3])
    for (dim, next_dim), blocks in zip(pairwise(widths), (1, 1, 2), strict=True):
        yield from (conv_block(dim) for _ in range(blocks))
        yield MembraneDownsample(dim, next_dim, neuron)


def conv_ends(dims: Sequence[int]) -> list[Stage]:
    """Where those stages end."""
    return [Stage(0, dims[0] // 2, 2), Stage(2, dims[0], 4), Stage(5, dims[1], 8)]


def stage_renames(depth: int) -> list[tuple[str, str]]:
    """Where the stem and the first three stages, of which the last has `depth` blocks, stand in our one row."""
    row = ["ConvBlock1_1.0", "downsample1_2", "ConvBlock1_2.0", "downsample2", "ConvBlock2_1.0", "ConvBlock2_2.0"]
    row = [*row, "downsample3", *(f"block3.{i}" for i in range(depth))]
    return [(r"^downsample1_1\.", "stem.proj.")] + [
        (f"^{name}[.]", f"blocks.{i}.proj." if name.startswith("downsample") else f"blocks.{i}.")
        for i, name in enumerate(row)
    ]


register(sdt_v2, SIZES, published=PUBLISHED, renames=renames)
