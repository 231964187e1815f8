"""Max-Former: max pools in every patch embedding, and depthwise convolutions instead of attention in the early stages.

Both keep high frequencies, which spiking neurons lose. It has QKFormer's stages with membrane shortcuts. Fang et
al., "Spiking Neural Networks Need High-Frequency Information", NeurIPS 2025, arXiv:2505.18608.
"""

from collections.abc import Mapping
from functools import partial
from math import prod
from typing import Any

from torch import nn

from spikeformers.layers.attention import SSA
from spikeformers.layers.block import block
from spikeformers.layers.contracts import (
    MakeAttention,
    MakeDownsampling,
    MakeHead,
    MakeMLP,
    MakeNeuron,
    MakeShortcut,
    MakeStem,
)
from spikeformers.layers.conv import ConvNorm, PooledConvNorm
from spikeformers.layers.head import SpikingHead
from spikeformers.layers.mlp import MLP
from spikeformers.layers.shortcut import MembraneShortcut
from spikeformers.layers.stem import MembraneSPEDS
from spikeformers.models.network import SpikingTransformer
from spikeformers.models.registry import Published, Renames, register
from spikeformers.models.stages import Stage, stage_renames, stem_convs
from spikeformers.models.trunk import spread
from spikeformers.neurons import LIF

_IMAGENET = dict(depths=(1, 2, 7), kernel_sizes=(7, 5))
_CIFAR10 = dict(
    depths=(1, 1, 2), kernel_sizes=(0, 3), num_heads=8, stem=MembraneSPEDS, strides=(1, 1),
    image_size=32, num_classes=10,
)  # fmt: skip
_CIFAR100 = {**_CIFAR10, "num_classes": 100}
_EVENTS = dict(
    dims=(128, 256), depths=(1, 1), kernel_sizes=(3,), num_heads=16, mlp_ratio=1, strides=(1, 2, 2, 2),
    stem=partial(MembraneSPEDS, lead=2, narrow=8), in_channels=2, image_size=128, time_steps=16,
)  # fmt: skip

SIZES = {
    "maxformer_10_384": dict(dims=(96, 192, 384), num_heads=6, **_IMAGENET),
    "maxformer_10_512": dict(dims=(128, 256, 512), num_heads=8, **_IMAGENET),
    "maxformer_10_768": dict(dims=(192, 384, 768), num_heads=12, **_IMAGENET),
    "maxformer_4_384_cifar10": dict(dims=(96, 192, 384), **_CIFAR10),
    "maxformer_4_384_cifar100": dict(dims=(96, 192, 384), **_CIFAR100),
    "maxformer_2_256_cifar10dvs": dict(num_classes=10, **_EVENTS),
    "maxformer_2_256_gesture": dict(num_classes=11, **_EVENTS),
}

_published = partial(Published, paper="arXiv:2505.18608")

PUBLISHED = {
    "maxformer_10_384": _published(16_237_240, "ImageNet-1k", 77.78),
    "maxformer_10_512": _published(28_653_480, "ImageNet-1k", None),  # 75.43 with one time step
    "maxformer_10_768": _published(63_992_200, "ImageNet-1k", 82.39),
    "maxformer_4_384_cifar10": _published(6_568_282, "CIFAR-10", 97.04),
    "maxformer_4_384_cifar100": _published(6_602_932, "CIFAR-100", 82.65),
    "maxformer_2_256_cifar10dvs": _published(1_455_626, "CIFAR10-DVS", 84.2),
    "maxformer_2_256_gesture": _published(1_455_883, "DVS128 Gesture", 98.61),
}


def maxformer(
    *,
    dims: tuple[int, ...],
    depths: tuple[int, ...],
    kernel_sizes: tuple[int, ...],
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
    stem: MakeStem = partial(MembraneSPEDS, conv=ConvNorm),
    downsampling: MakeDownsampling = partial(MembraneSPEDS, lead=0, narrow=1, side_conv=PooledConvNorm),
    attention: MakeAttention = SSA,
    mlp: MakeMLP = MLP,
    shortcut: MakeShortcut = MembraneShortcut,
    head: MakeHead = SpikingHead,
) -> SpikingTransformer:
    """A Max-Former `[B, C, H, W]` or `[T, B, C, H, W] -> [B, K]` of `len(dims)` stages, `depths` blocks each.

    Every stage but the last mixes tokens by a depthwise convolution of the size in `kernel_sizes`, or not at all if it
    is 0; the last has `attention`. With `mlp_ratio` 1, each of the MLP's layers has a shortcut of its own.
    `drop_path` grows linearly from 0 to its value over all blocks.

    Raises ValueError unless `dims` and `depths` are of one length, and `kernel_sizes` one shorter.
    """
    if not len(dims) == len(depths) == len(kernel_sizes) + 1:
        raise ValueError(
            f"dims {dims}, depths {depths} and kernel_sizes {kernel_sizes} do not give the same number of stages: "
            "give one of each per stage, but no kernel size for the last"
        )

    def mixer(stage: int) -> dict[str, nn.Module]:
        dim = dims[stage]
        if stage == len(dims) - 1:
            return {"attn": attention(dim, num_heads, neuron, bias=qkv_bias)}
        size = kernel_sizes[stage]
        return {"mixer": ConvNorm(dim, dim, size, groups=dim, bias=True)} if size else {}

    def channels(dim: int) -> dict[str, nn.Module]:
        if mlp_ratio == 1:
            return {name: ConvNorm(dim, dim, bias=True) for name in ("fc1", "fc2")}
        return {"mlp": mlp(dim, int(mlp_ratio * dim), neuron)}

    rates, blocks, stages = iter(spread(drop_path, sum(depths))), [], []
    for stage, (dim, depth) in enumerate(zip(dims, depths, strict=True)):
        if stage:
            blocks.append(downsampling(dims[stage - 1], dim, neuron, downsampling_strides))
        blocks += [
            block(shortcut, neuron, drop_path=next(rates), **mixer(stage), **channels(dim)) for _ in range(depth)
        ]
        stages.append(Stage(len(blocks) - 1, dim, prod(strides) * prod(downsampling_strides) ** stage))
    return SpikingTransformer(
        stem=stem(in_channels, dims[0], neuron, strides),
        blocks=blocks,
        stages=stages,
        head=head(dims[-1], num_classes, neuron),
        time_steps=time_steps,
        image_size=image_size,
    )


# Stems' convolutions as released, in our order, the side last: CIFAR's, ImageNet's, that for events.
_STEMS = {
    2: ["proj", "embed1", "embed2"],
    3: ["embed1", "embed2", "embed3", "embed4"],
    4: ["proj", "max_embed1", "max_embed2", "max_embed3", "embed1"],
}


def renames(config: Mapping[str, Any]) -> Renames:
    """How the released code (three copies: CIFAR, events, ImageNet) spells our keys."""
    theirs, ours = _STEMS.get(len(config["strides"]), []), [*stem_convs(config), "stem.side"]
    return [
        *stage_renames(config["depths"]),
        (r"\.embed_(conv|bn)\.", r".\1."),
        (r"_(conv|bn)\.", r".\1."),
        *((rf"^stem\.{name}\.", f"{conv}.") for name, conv in zip(theirs, ours, strict=False)),
        (r"^(blocks\.\d+)\.max_embed1\.", r"\1.main.0.proj."),
        (r"^(blocks\.\d+)\.embed1\.", r"\1.main.1.proj."),
        (r"^(blocks\.\d+)\.max_embed2\.", r"\1.side."),
        (r"\.mixer\.conv5?\.bn\.", r".mixer.core.bn."),
        (r"\.mixer\.conv5?\.", r".mixer.core.conv."),
        (r"\.attn\.", r".attn.core."),
        (r"\.mlp\.(fc\d)\.", r".\1.core." if config["mlp_ratio"] == 1 else r".mlp.core.\1."),
        (r"\.bn\.", r".norm."),
        (r"^head\.(weight|bias)$", r"head.linear.\1"),
    ]


register(maxformer, SIZES, published=PUBLISHED, renames=renames)
