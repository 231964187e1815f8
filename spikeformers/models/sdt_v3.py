"""Spike-driven Transformer V3, E-SpikeFormer, small: V2's four stages with integer neurons and wide values.

Each block of the last two stages mixes with a separable convolution first. The model runs one time step, in which
neurons emit counts: a count of D becomes D binary spikes at inference.

Yao et al., "Scaling Spike-driven Transformer with Efficient Spike Firing Approximation Training", TPAMI 2025,
arXiv:2411.16061. Its large sizes, of another build, are in `sdt_v3_large.py`.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import nn

from spikeformers.layers.attention import WideSSA
from spikeformers.layers.block import block
from spikeformers.layers.contracts import MakeAttention, MakeHead, MakeMLP, MakeNeuron, MakeShortcut, MakeStem
from spikeformers.layers.downsample import MembraneDownsample
from spikeformers.layers.head import SpikingHead
from spikeformers.layers.mlp import MLP, SpikingSepConv
from spikeformers.layers.shortcut import MembraneShortcut
from spikeformers.layers.stem import StridedConv
from spikeformers.models.network import SpikingTransformer
from spikeformers.models.registry import Published, register
from spikeformers.models.sdt_v2 import conv_ends, conv_stages, stage_renames
from spikeformers.models.stages import Stage
from spikeformers.models.trunk import spread
from spikeformers.neurons import IntegerHalfEven

SIZES = {
    "sdt_v3_3m": dict(dims=(24, 48, 96, 128)),
    "sdt_v3_5m": dict(dims=(32, 64, 128, 192)),
    "sdt_v3_10m": dict(dims=(48, 96, 192, 240)),
    "sdt_v3_19m": dict(dims=(64, 128, 256, 360)),
}

_published = partial(Published, data="ImageNet-1k", paper="arXiv:2411.16061")

PUBLISHED = {
    "sdt_v3_3m": _published(2_702_048, top1=None),  # in the released code, not in the paper
    "sdt_v3_5m": _published(5_105_608, top1=75.3),
    "sdt_v3_10m": _published(10_023_112, top1=78.5),
    "sdt_v3_19m": _published(18_987_504, top1=79.8),
}


def sdt_v3(
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
    neuron: MakeNeuron = IntegerHalfEven,
    head_neuron: MakeNeuron = partial(IntegerHalfEven, unit=1.0),
    stem: MakeStem = StridedConv,
    mixer_mlp: MakeMLP = SpikingSepConv,
    conv_mlp: MakeMLP = partial(MLP, kernel_size=3, bias=False),
    narrow_mlp: MakeMLP = partial(SpikingSepConv, kernel_size=3),
    attention: MakeAttention = WideSSA,
    mlp: MakeMLP = MLP,
    shortcut: MakeShortcut = MembraneShortcut,
    head: MakeHead = SpikingHead,
) -> SpikingTransformer:
    """A small E-SpikeFormer `[B, C, H, W]` or `[T, B, C, H, W] -> [B, K]` of four stages, `dims` wide.

    The stem is half as wide as the first stage. `depths` are those of the two attention stages, whose blocks begin with
    `narrow_mlp`; the convolutional ones have two blocks each. `drop_path` grows linearly from 0 to its value.
    `head_neuron` is the last one, whose counts are not divided by D.

    Raises ValueError for other than four dims or two depths, and for an odd first dim.
    """
    if len(dims) != 4 or len(depths) != 2:
        raise ValueError(f"dims {dims} and depths {depths} are not four and two: give the widths of all four stages")
    rates = iter(spread(drop_path, 4 + sum(depths)))

    def conv_block(dim: int) -> nn.Module:
        mixer, conv = mixer_mlp(dim, 2 * dim, neuron), conv_mlp(dim, 4 * dim, neuron)
        return block(shortcut, neuron, drop_path=next(rates), mixer=mixer, mlp=conv)

    def attention_block(dim: int) -> nn.Module:
        mixer, attn = narrow_mlp(dim, 2 * dim, neuron), attention(dim, num_heads, neuron, bias=False)
        tokens = mlp(dim, int(mlp_ratio * dim), neuron)
        return block(shortcut, neuron, drop_path=next(rates), mixer=mixer, attn=attn, mlp=tokens)

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
        head=head(dim4, num_classes, head_neuron),
        time_steps=time_steps,
        image_size=image_size,
    )


def renames(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """How the released code spells our keys: it counts the blocks of each stage apart."""
    third, fourth = config["depths"]
    mixers = {"pwconv1": "fc1", "dwconv": "depthwise", "pwconv2": "fc2"}
    return [
        *stage_renames(third),
        (r"^downsample4\.", f"blocks.{7 + third}.proj."),
        *((rf"^block4\.{i}\.", f"blocks.{8 + third + i}.") for i in range(fourth)),
        (r"\.encode_(conv|bn)\.", r".\1."),
        *((rf"\.[Cc]onv\.{theirs}\.", f".mixer.core.{ours}.") for theirs, ours in mixers.items()),
        (r"^(blocks\.\d+)\.(conv|bn)([12])\.", r"\1.mlp.core.fc\3.\2."),
        (r"\.attn\.([qkv]|proj)_conv\.", r".attn.core.\1."),
        (r"\.core\.(\w+)\.0\.", r".core.\1.conv."),
        (r"\.core\.(\w+)\.1\.", r".core.\1.norm."),
        (r"\.mlp\.(fc[12])_(conv|bn)\.", r".mlp.core.\1.\2."),
        (r"\.bn\.", r".norm."),
        (r"^head\.(weight|bias)$", r"head.linear.\1"),
    ]


register(sdt_v3, SIZES, published=PUBLISHED, renames=renames)
