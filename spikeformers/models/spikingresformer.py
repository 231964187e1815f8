"""SpikingResformer: three stages of DSSA and GWFFN with membrane shortcuts, on the stem of a residual network.

Shi et al., "SpikingResformer: Bridging ResNet and Vision Transformer in Spiking Neural Networks", CVPR 2024,
arXiv:2403.14302.
"""

from collections.abc import Mapping
from functools import partial
from itertools import islice
from math import prod
from typing import Any

from spikeformers.layers.attention import DSSA
from spikeformers.layers.contracts import MakeAttention, MakeHead, MakeMLP, MakeNeuron, MakeShortcut, MakeStem
from spikeformers.layers.downsample import MembraneDownsample
from spikeformers.layers.head import Head
from spikeformers.layers.mlp import GWFFN
from spikeformers.layers.shortcut import MembraneShortcut
from spikeformers.layers.stem import MembraneResNetStem
from spikeformers.models.init import trunc_normal_convs
from spikeformers.models.network import SpikingTransformer
from spikeformers.models.registry import Published, register
from spikeformers.models.stages import Stage
from spikeformers.models.trunk import attention_blocks, spread
from spikeformers.neurons import LIF, PLIF
from spikeformers.ops.surrogate import ATan

_TI = dict(dims=(64, 192, 384), num_heads=(1, 3, 6))
_SMALL_IMAGES = dict(strides=(1, 1), stem=partial(MembraneResNetStem, kernel_size=3))
# Frames of events have a third channel, the sum of the two polarities.
_EVENTS = dict(image_size=64, time_steps=16, **_SMALL_IMAGES)

SIZES = {
    "spikingresformer_ti": dict(**_TI),
    "spikingresformer_s": dict(dims=(64, 256, 512), num_heads=(1, 4, 8)),
    "spikingresformer_m": dict(dims=(64, 384, 768), num_heads=(1, 6, 12)),
    "spikingresformer_l": dict(dims=(128, 512, 1024), num_heads=(2, 8, 16)),
    "spikingresformer_ti_cifar10": dict(image_size=32, num_classes=10, **_TI, **_SMALL_IMAGES),
    "spikingresformer_ti_cifar100": dict(image_size=32, num_classes=100, **_TI, **_SMALL_IMAGES),
    "spikingresformer_cifar10dvs": dict(num_classes=10, **_TI, **_EVENTS),
    "spikingresformer_gesture": dict(
        dims=(32, 96, 192),
        num_heads=(1, 3, 6),
        num_classes=11,
        neuron=partial(PLIF, surrogate=ATan()),
        mlp=partial(GWFFN, group_size=32),
        **_EVENTS,
    ),
}

_published = partial(Published, paper="arXiv:2403.14302")

# The paper counts Ti, S and M without the weights and biases of their norms, and L with them; here all are counted.
PUBLISHED = {
    "spikingresformer_ti": _published(11_180_992, "ImageNet-1k", 74.34),
    "spikingresformer_s": _published(17_813_824, "ImageNet-1k", 75.95),
    "spikingresformer_m": _published(35_601_472, "ImageNet-1k", 77.24),
    "spikingresformer_l": _published(60_375_680, "ImageNet-1k", 78.77),
    "spikingresformer_ti_cifar10": _published(10_793_152, "CIFAR-10", 96.24),
    "spikingresformer_ti_cifar100": _published(10_827_712, "CIFAR-100", 79.28),
    "spikingresformer_cifar10dvs": _published(10_793_152, "CIFAR10-DVS", None),
    "spikingresformer_gesture": _published(2_709_830, "DVS128 Gesture", 98.6),
}


def spikingresformer(
    *,
    dims: tuple[int, ...],
    num_heads: tuple[int, ...],
    depths: tuple[int, ...] = (1, 2, 3),
    mlp_ratio: float = 4,
    strides: tuple[int, ...] = (2, 2),
    qkv_bias: bool = False,
    drop_path: float = 0.0,
    in_channels: int = 3,
    num_classes: int = 1000,
    image_size: int = 224,
    time_steps: int = 4,
    neuron: MakeNeuron = partial(LIF, surrogate=ATan()),
    stem: MakeStem = MembraneResNetStem,
    stage1_attention: MakeAttention = partial(DSSA, patch_size=4),
    stage2_attention: MakeAttention = partial(DSSA, patch_size=2),
    attention: MakeAttention = DSSA,
    mlp: MakeMLP = GWFFN,
    shortcut: MakeShortcut = MembraneShortcut,
    head: MakeHead = partial(Head, bias=False),
) -> SpikingTransformer:
    """A SpikingResformer `[B, C, H, W]` or `[T, B, C, H, W] -> [B, K]` of three stages, `depths` blocks, `dims` wide.

    Each stage after the first halves the map; `attention` is the last one's. `drop_path` grows linearly from 0 to its
    value over the blocks.

    Raises ValueError where `dims`, `num_heads` and `depths` are not three numbers each.
    """
    for name, numbers in (("dims", dims), ("num_heads", num_heads), ("depths", depths)):
        if len(numbers) != 3:
            raise ValueError(f"{name} {numbers} are not three: give one for each stage")
    attentions = (stage1_attention, stage2_attention, attention)
    rates, blocks, stages = iter(spread(drop_path, sum(depths))), [], []
    for i, (dim, heads, depth, mixer) in enumerate(zip(dims, num_heads, depths, attentions, strict=True)):
        if i > 0:
            blocks.append(MembraneDownsample(dims[i - 1], dim, neuron, bias=False))
        blocks += attention_blocks(
            islice(rates, depth), dim, heads, mlp_ratio,
            neuron=neuron, attention=mixer, mlp=mlp, shortcut=shortcut, bias=qkv_bias,
        )  # fmt: skip
        stages.append(Stage(len(blocks) - 1, dim, prod(strides) * 2**i))
    model = SpikingTransformer(
        stem=stem(in_channels, dims[0], neuron, strides),
        blocks=blocks,
        stages=stages,
        head=head(dims[-1], num_classes, neuron),
        time_steps=time_steps,
        image_size=image_size,
    )
    trunc_normal_convs(model, std=0.02)
    return model


def renames(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """How the released code spells our keys: its `layers.stage.i` are a down-sampling, then attentions and MLPs."""
    pairs, ours = [(r"\.bn\.", r".")], 0
    for stage, depth in enumerate(config["depths"]):
        if stage > 0:
            pairs += [(rf"^layers\.{stage}\.0\.", rf"blocks.{ours}.")]
            ours += 1
        for i in range(stage > 0, 2 * depth, 2):
            pairs += [(rf"^layers\.{stage}\.{i}\.", rf"blocks.{ours}.attn.core.")]
            pairs += [(rf"^layers\.{stage}\.{i + 1}\.", rf"blocks.{ours}.mlp.core.")]
            ours += 1
    return pairs + RENAMES


RENAMES = [
    (r"^prologue\.0\.", r"stem.proj.conv."),
    (r"^prologue\.1\.", r"stem.proj.norm."),
    (r"^(blocks\.\d+)\.(conv|norm)\.", r"\1.proj.\2."),
    (r"^(blocks\.\d+)\.activation\.", r"\1.neuron."),
    (r"\.firing_rate_(x|attn)$", r".\1_rate"),
    (r"\.core\.activation_in\.", r".neuron."),
    (r"\.activation_(attn|out)\.", r".\1_neuron."),
    (r"\.core\.W\.", r".core.kv.conv."),
    (r"\.core\.norm\.", r".core.kv.norm."),
    (r"\.Wproj\.", r".proj.conv."),
    (r"\.norm_proj\.", r".proj.norm."),
    (r"\.core\.up\.0\.", r".neuron."),
    (r"\.core\.conv\.0\.0\.", r".core.mix.neuron."),
    (r"\.core\.down\.0\.", r".core.neuron."),
    (r"\.core\.conv\.0\.(\d)\.", r".core.mix.core.\1."),
    (r"\.1\.weight$", r".conv.weight"),
    (r"\.2\.(\w+)$", r".norm.\1"),
    (r"^classifier\.", r"head.linear."),
]

register(spikingresformer, SIZES, published=PUBLISHED, renames=renames)
