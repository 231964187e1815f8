"""QKFormer: stages that halve the map, linear attention masked by queries in the early ones, SSA in the last.

Zhou et al., "QKFormer: Hierarchical Spiking Transformer using Q-K Attention", NeurIPS 2024, arXiv:2403.16552. The code
released with it lets the state of SSA's last neuron run from one sample of a batch into the next; this does not, and
`spikeformers.neurons.batch_leaking_lif` is for comparing. MS-QKFormer is the same on membrane shortcuts, from Fang et
al., "Spiking Neural Networks Need High-Frequency Information", NeurIPS 2025, arXiv:2505.18608.
"""

from collections.abc import Mapping
from functools import partial
from itertools import islice
from math import prod
from typing import Any

from spikeformers.layers.attention import QKTA, SSA
from spikeformers.layers.contracts import (
    MakeAttention,
    MakeDownsampling,
    MakeHead,
    MakeMLP,
    MakeNeuron,
    MakeShortcut,
    MakeStem,
)
from spikeformers.layers.head import Head, SpikingHead
from spikeformers.layers.mlp import MLP
from spikeformers.layers.shortcut import MembraneShortcut, SEWShortcut
from spikeformers.layers.stem import SPEDS, MembraneSPEDS
from spikeformers.models.network import SpikingTransformer
from spikeformers.models.registry import Published, Renames, register
from spikeformers.models.stages import Stage, stage_renames, stem_convs
from spikeformers.models.trunk import attention_blocks, spread
from spikeformers.neurons import LIF

_384, _512, _768 = (96, 192, 384), (128, 256, 512), (192, 384, 768)
_256_EVENTS = (128, 256)

_CIFAR10 = dict(
    depths=(1, 1, 2), num_heads=8, strides=(1, 1), downsampling_strides=(1, 2), image_size=32, num_classes=10
)
_CIFAR100 = {**_CIFAR10, "num_classes": 100}
_EVENTS = dict(
    dims=_256_EVENTS, depths=(1, 1), num_heads=16, strides=(1, 2, 2, 2), downsampling_strides=(1, 2),
    stem=partial(SPEDS, lead=2, narrow=8), in_channels=2, image_size=128, time_steps=16,
)  # fmt: skip
_MEMBRANE = dict(
    stem=MembraneSPEDS,
    downsampling=partial(MembraneSPEDS, lead=0, narrow=1),
    shortcut=MembraneShortcut,
    head=SpikingHead,
)

SIZES = {
    "qkformer_10_384": dict(dims=_384, depths=(1, 2, 7), num_heads=6),
    "qkformer_10_512": dict(dims=_512, depths=(1, 2, 7), num_heads=8),
    "qkformer_10_768": dict(dims=_768, depths=(1, 2, 7), num_heads=12),
    "qkformer_4_256_cifar10": dict(dims=(64, 128, 256), **_CIFAR10),
    "qkformer_4_384_cifar10": dict(dims=_384, **_CIFAR10),
    "qkformer_4_512_cifar10": dict(dims=_512, **_CIFAR10),
    "qkformer_4_256_cifar100": dict(dims=(64, 128, 256), **_CIFAR100),
    "qkformer_4_384_cifar100": dict(dims=_384, **_CIFAR100),
    "qkformer_4_512_cifar100": dict(dims=_512, **_CIFAR100),
    "qkformer_2_256_cifar10dvs": dict(mlp_ratio=1, num_classes=10, **_EVENTS),
    "qkformer_2_256_gesture": dict(num_classes=11, **_EVENTS),  # as coded; mlp_ratio=1 has the paper's 1.50 M
    "msqkformer_10_384": dict(dims=_384, depths=(1, 2, 7), num_heads=6, **_MEMBRANE),
    "msqkformer_10_512": dict(dims=_512, depths=(1, 2, 7), num_heads=8, **_MEMBRANE),
    "msqkformer_10_768": dict(dims=_768, depths=(1, 2, 7), num_heads=12, **_MEMBRANE),
}

_published = partial(Published, paper="arXiv:2403.16552")
_published_ms = partial(Published, data="ImageNet-1k", top1=None, paper="arXiv:2505.18608")

PUBLISHED = {
    "qkformer_10_384": _published(16_473_688, "ImageNet-1k", 78.80),
    "qkformer_10_512": _published(29_079_336, "ImageNet-1k", 82.04),
    "qkformer_10_768": _published(64_962_760, "ImageNet-1k", 84.22),
    "qkformer_4_256_cifar10": _published(2_988_074, "CIFAR-10", None),
    "qkformer_4_384_cifar10": _published(6_706_234, "CIFAR-10", 96.18),
    "qkformer_4_512_cifar10": _published(11_907_146, "CIFAR-10", None),
    "qkformer_4_256_cifar100": _published(3_011_204, "CIFAR-100", None),
    "qkformer_4_384_cifar100": _published(6_740_884, "CIFAR-100", 81.15),
    "qkformer_4_512_cifar100": _published(11_953_316, "CIFAR-100", None),
    "qkformer_2_256_cifar10dvs": _published(1_504_138, "CIFAR10-DVS", 84.0),
    "qkformer_2_256_gesture": _published(1_999_371, "DVS128 Gesture", 98.6),
    "msqkformer_10_384": _published_ms(16_473_688),
    "msqkformer_10_512": _published_ms(29_079_336),
    "msqkformer_10_768": _published_ms(64_962_760),
}


def qkformer(
    *,
    dims: tuple[int, ...],
    depths: tuple[int, ...],
    num_heads: int,
    mlp_ratio: float = 4,
    strides: tuple[int, ...] = (2, 2, 1),
    downsampling_strides: tuple[int, ...] = (2, 1),
    qkv_bias: bool = False,
    drop_path: float = 0.0,
    in_channels: int = 3,
    num_classes: int = 1000,
    image_size: int = 224,
    time_steps: int = 4,
    neuron: MakeNeuron = LIF,
    stem: MakeStem = SPEDS,
    downsampling: MakeDownsampling = partial(SPEDS, lead=0, narrow=1),
    early_attention: MakeAttention = QKTA,
    attention: MakeAttention = SSA,
    mlp: MakeMLP = MLP,
    shortcut: MakeShortcut = SEWShortcut,
    head: MakeHead = Head,
) -> SpikingTransformer:
    """A QKFormer `[B, C, H, W]` or `[T, B, C, H, W] -> [B, K]` of `len(dims)` stages, `depths` blocks each.

    The last stage has `attention`, those before it `early_attention`. `drop_path` grows linearly from 0 to its value
    over all blocks.

    Raises ValueError unless `dims` and `depths` are of one length.
    """
    if len(dims) != len(depths) or not dims:
        raise ValueError(
            f"dims {dims} and depths {depths} do not give the same number of stages: give one of each per stage"
        )
    rates, blocks, stages = iter(spread(drop_path, sum(depths))), [], []
    for stage, (dim, depth) in enumerate(zip(dims, depths, strict=True)):
        mixer = attention if stage == len(dims) - 1 else early_attention
        if stage:
            blocks.append(downsampling(dims[stage - 1], dim, neuron, downsampling_strides))
        blocks += attention_blocks(
            islice(rates, depth), dim, num_heads, mlp_ratio,
            neuron=neuron, attention=mixer, mlp=mlp, shortcut=shortcut, bias=qkv_bias,
        )  # fmt: skip
        stages.append(Stage(len(blocks) - 1, dim, prod(strides) * prod(downsampling_strides) ** stage))
    return SpikingTransformer(
        stem=stem(in_channels, dims[0], neuron, strides),
        blocks=blocks,
        stages=stages,
        head=head(dims[-1], num_classes, neuron),
        time_steps=time_steps,
        image_size=image_size,
    )


def renames(config: Mapping[str, Any]) -> Renames:
    """How the released code (three copies: CIFAR, events, ImageNet; a fourth for MS) spells our keys."""
    return [
        *stage_renames(config["depths"]),
        (r"^stem\.proj_(conv|bn)(\d)\.", r"stem.proj\2_\1."),  # MS
        (r"^stem\.proj_(conv|bn)\.", r"stem.proj0_\1."),
        *((rf"^stem\.proj{i}_", f"{conv}_") for i, conv in enumerate(stem_convs(config))),
        (r"^(blocks\.\d+)\.proj3?_(conv|bn)\.", r"\1.main.0.proj_\2."),
        (r"^(blocks\.\d+)\.proj4_(conv|bn)\.", r"\1.main.1.proj_\2."),
        (r"\.(?:proj_res|rpe)_(conv|bn)\.", r".side_\1."),
        (r"\.(?:tssa|ssa|attn)\.(\w+)_(conv|bn)\.", r".attn.core.\1_\2."),
        (r"\.mlp\.(?:fc|mlp)(\d)_(conv|bn)\.", r".mlp.core.fc\1_\2."),
        (r"_conv\.(\w+)$", r".conv.\1"),
        (r"_bn\.(\w+)$", r".norm.\1"),
        (r"^head\.(weight|bias)$", r"head.linear.\1"),
    ]


CLUES = {r"patch_embed1\.rpe_": "^ms", r"patch_embed1\.proj_res_": "^qk"}  # the stem's shortcut, as each spells it

register(qkformer, SIZES, published=PUBLISHED, renames=renames, clues=CLUES)
