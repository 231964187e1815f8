"""Spike-driven Transformer V3, E-SpikeFormer, large: three stages, twelve attention blocks, integer neurons.

Its first two stages are plain convolutions, its attention an SSA whose projections are chains of linear layers, and
its branches begin small. A count of D is D binary spikes at inference, D 4 or, in `_d8`, 8.

Yao et al., "Scaling Spike-driven Transformer with Efficient Spike Firing Approximation Training", TPAMI 2025,
arXiv:2411.16061. Its small sizes are in `sdt_v3.py`.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import nn

from spikeformers.layers.attention import SSA
from spikeformers.layers.block import block
from spikeformers.layers.contracts import MakeAttention, MakeHead, MakeMLP, MakeNeuron, MakeShortcut, MakeStem
from spikeformers.layers.head import HalfSpikingHead, Head
from spikeformers.layers.layer_scale import LayerScale, NoScale
from spikeformers.layers.mlp import MLP
from spikeformers.layers.projection import RepLinear
from spikeformers.layers.shortcut import MembraneShortcut
from spikeformers.layers.stem import StridedConv
from spikeformers.models.network import SpikingTransformer
from spikeformers.models.registry import Published, register
from spikeformers.models.sdt_v2 import conv_ends, conv_stages, stage_renames
from spikeformers.models.stages import Stage
from spikeformers.models.trunk import spread
from spikeformers.neurons import IntegerHalfUp

_83M, _171M = (
    dict(dims=(128, 256, 512)),
    dict(dims=(196, 384, 768)),
)  # the pre-training code has 192: dims=(192, 384, 768)
_D8 = dict(
    neuron=partial(IntegerHalfUp, max_count=8),
    head_neuron=partial(IntegerHalfUp, max_count=8, unit=1.0),
)
_KD = dict(head=HalfSpikingHead)

SIZES = {
    "sdt_v3_83m": _83M,
    "sdt_v3_83m_d8": {**_83M, **_D8},
    "sdt_v3_83m_kd": {**_83M, **_KD},
    "sdt_v3_83m_d8_kd": {**_83M, **_D8, **_KD},
    "sdt_v3_171m": _171M,
    "sdt_v3_171m_d8": {**_171M, **_D8},
    "sdt_v3_171m_kd": {**_171M, **_KD},
    "sdt_v3_171m_d8_kd": {**_171M, **_D8, **_KD},
}

_published = partial(Published, data="ImageNet-1k", paper="arXiv:2411.16061")

PUBLISHED = {  # the released files have both heads; 83m counts 6.3 million more there, of a branch that never runs
    "sdt_v3_83m": _published(76_186_920, top1=None),
    "sdt_v3_83m_d8": _published(76_186_920, top1=None),
    "sdt_v3_83m_kd": _published(76_699_920, top1=83.6),
    "sdt_v3_83m_d8_kd": _published(76_699_920, top1=84.0),
    "sdt_v3_171m": _published(170_971_714, top1=None),
    "sdt_v3_171m_d8": _published(170_971_714, top1=None),
    "sdt_v3_171m_kd": _published(171_740_714, top1=None),
    "sdt_v3_171m_d8_kd": _published(171_740_714, top1=85.1),
}


def sdt_v3_large(
    *,
    dims: tuple[int, ...],
    depth: int = 12,
    num_heads: int = 8,
    mlp_ratio: float = 4,
    layer_scale: float | None = 1e-6,
    drop_path: float = 0.0,
    in_channels: int = 3,
    num_classes: int = 1000,
    image_size: int = 224,
    time_steps: int = 1,
    neuron: MakeNeuron = IntegerHalfUp,
    head_neuron: MakeNeuron = partial(IntegerHalfUp, unit=1.0),
    stem: MakeStem = StridedConv,
    conv_mlp: MakeMLP = partial(MLP, kernel_size=3),
    attention: MakeAttention = partial(SSA, projection=RepLinear, proj_bias=False, attn_threshold=1.0),
    mlp: MakeMLP = MLP,
    shortcut: MakeShortcut = MembraneShortcut,
    head: MakeHead = Head,
) -> SpikingTransformer:
    """A large E-SpikeFormer `[B, C, H, W]` or `[T, B, C, H, W] -> [B, K]` of three stages, `dims` wide.

    The stem is half as wide as the first stage; `depth` is that of the last stage, the others have two blocks each.
    `drop_path` grows linearly from 0 to its value over the blocks of the last stage, whose branches are scaled by
    `layer_scale` at first, or, with None, never. `head_neuron` is the head's, if it has one; its counts are not divided
    by D.

    Raises ValueError for other than three dims, and for an odd first one.
    """
    if len(dims) != 3:
        raise ValueError(f"dims {dims} are not three: give the width of each stage")
    dim3 = dims[-1]

    def conv_block(dim: int) -> nn.Module:
        return block(shortcut, neuron, mlp=conv_mlp(dim, 4 * dim, neuron))

    def scaled(core: nn.Module) -> nn.Module:
        return NoScale(core) if layer_scale is None else LayerScale(core, dim3, layer_scale)

    def attention_block(rate: float) -> nn.Module:
        attn = scaled(attention(dim3, num_heads, neuron, bias=False))
        tokens = scaled(mlp(dim3, int(mlp_ratio * dim3), neuron))
        return block(shortcut, neuron, drop_path=rate, attn=attn, mlp=tokens)

    return SpikingTransformer(
        stem=stem(in_channels, dims[0] // 2, neuron, (2,)),
        blocks=[*conv_stages(dims, neuron, conv_block), *map(attention_block, spread(drop_path, depth))],
        stages=[*conv_ends(dims), Stage(6 + depth, dim3, 16)],
        head=head(dim3, num_classes, head_neuron),
        time_steps=time_steps,
        image_size=image_size,
    )


def renames(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """How the released code spells our keys: it counts the blocks of each stage apart."""
    return [
        *stage_renames(config["depth"]),
        (r"\.encode_(conv|bn)\.", r".\1."),
        (r"^(blocks\.\d+)\.conv([12])\.0\.0\.", r"\1.mlp.core.fc\2.conv."),
        (r"^(blocks\.\d+)\.conv([12])\.0\.1\.", r"\1.mlp.core.fc\2.norm."),
        (r"\.layer_scale1$", r".attn.core.scale"),
        (r"\.layer_scale2$", r".mlp.core.scale"),
        (r"\.attn\.([qkv]|proj)_conv\.", r".attn.core.core.\1."),
        (r"\.0\.conv1\.", r".expand."),
        (r"\.0\.conv2\.", r".proj."),
        (r"\.(expand|proj)\.0\.", r".\1.conv."),
        (r"\.([qkv]|expand|proj)\.1\.", r".\1.norm."),
        (r"\.mlp\.(fc[12])_(conv|bn)\.", r".mlp.core.core.\1.\2."),
        (r"\.bn\.", r".norm."),
        (r"^head\.(weight|bias)$", r"head.linear.\1"),
        (r"^head_kd\.", r"head.linear_kd."),
    ]


DEAD_KEYS = [r"block3\.\d+\.rep_conv\..+"]  # a branch of shapes that cannot run, in the 83M file
CLUES = {"1x8": "_d8", r"\.rep_conv\.": "_83m"}  # files are named after T x D
UNLOADABLE = {
    r"(decoder_\w+|mask_token)\b": "a masked autoencoder's pre-training, without head and layer scales: "
    "give a file that was fine-tuned from it, or fine-tune it by --start_from"
}

register(
    sdt_v3_large,
    SIZES,
    published=PUBLISHED,
    renames=renames,
    dead_keys=DEAD_KEYS,
    clues=CLUES,
    unloadable=UNLOADABLE,
)
