"""Spike-driven Transformer: SDSA, which only masks and adds, with membrane shortcuts, on a stem that ends in current.

Yao et al., "Spike-driven Transformer", NeurIPS 2023, arXiv:2307.01694.
"""

from functools import partial

from spikeformers.layers.attention import SDSA, PooledSDSA
from spikeformers.layers.contracts import (
    MakeAttention,
    MakeHead,
    MakeMLP,
    MakeNeuron,
    MakePosition,
    MakeShortcut,
    MakeStem,
)
from spikeformers.layers.head import SpikingHead
from spikeformers.layers.mlp import MLP
from spikeformers.layers.position import ConvPosition
from spikeformers.layers.shortcut import MembraneShortcut
from spikeformers.layers.stem import MembraneSPS
from spikeformers.models.init import trunc_normal_convs
from spikeformers.models.network import SpikingTransformer
from spikeformers.models.registry import Published, register
from spikeformers.models.trunk import attention_blocks, spread
from spikeformers.neurons import LIF

_CIFAR10 = dict(depth=2, image_size=32, strides=(1, 1, 2, 2), num_classes=10)
_CIFAR100 = {**_CIFAR10, "num_classes": 100}
_EVENTS = dict(depth=2, in_channels=2, time_steps=16)

SIZES = {
    "sdt_8_384": dict(dim=384, depth=8),
    "sdt_6_512": dict(dim=512, depth=6),
    "sdt_8_512": dict(dim=512, depth=8),
    "sdt_10_512": dict(dim=512, depth=10),
    "sdt_8_768": dict(dim=768, depth=8),
    "sdt_2_256_cifar10": dict(dim=256, **_CIFAR10),
    "sdt_2_512_cifar10": dict(dim=512, **_CIFAR10),
    "sdt_2_256_cifar100": dict(dim=256, **_CIFAR100),
    "sdt_2_512_cifar100": dict(dim=512, **_CIFAR100),
    "sdt_2_256_cifar10dvs": dict(
        dim=256, image_size=64, strides=(1, 1, 2, 2), attention=PooledSDSA, num_classes=10, **_EVENTS
    ),
    "sdt_2_256_gesture": dict(dim=256, image_size=128, strides=(1, 2, 2, 2), num_classes=11, **_EVENTS),
}

_published = partial(Published, paper="arXiv:2307.01694")

PUBLISHED = {
    "sdt_8_384": _published(16_816_024, "ImageNet-1k", 72.28),
    "sdt_6_512": _published(23_373_352, "ImageNet-1k", 74.11),
    "sdt_8_512": _published(29_689_384, "ImageNet-1k", 74.57),
    "sdt_10_512": _published(36_005_416, "ImageNet-1k", 74.66),
    "sdt_8_768": _published(66_338_632, "ImageNet-1k, 288", 77.07),
    "sdt_2_256_cifar10": _published(2_566_954, "CIFAR-10", None),
    "sdt_2_512_cifar10": _published(10_233_418, "CIFAR-10", 95.60),
    "sdt_2_256_cifar100": _published(2_590_084, "CIFAR-100", None),
    "sdt_2_512_cifar100": _published(10_279_588, "CIFAR-100", 78.40),
    "sdt_2_256_cifar10dvs": _published(2_566_666, "CIFAR10-DVS", 80.00),
    "sdt_2_256_gesture": _published(2_566_923, "DVS128 Gesture", 99.30),
}


def sdt(
    *,
    dim: int,
    depth: int,
    num_heads: int = 8,
    mlp_ratio: float = 4,
    strides: tuple[int, ...] = (2, 2, 2, 2),
    qkv_bias: bool = False,
    drop_path: float = 0.0,
    in_channels: int = 3,
    num_classes: int = 1000,
    image_size: int = 224,
    time_steps: int = 4,
    neuron: MakeNeuron = LIF,
    stem: MakeStem = MembraneSPS,
    position: MakePosition = ConvPosition,
    attention: MakeAttention = SDSA,
    mlp: MakeMLP = MLP,
    shortcut: MakeShortcut = MembraneShortcut,
    head: MakeHead = SpikingHead,
) -> SpikingTransformer:
    """A Spike-driven Transformer `[B, C, H, W]` or `[T, B, C, H, W] -> [B, K]` of `depth` blocks, `dim` wide.

    `drop_path` grows linearly from 0 to its value over the blocks.
    """
    blocks = attention_blocks(
        spread(drop_path, depth), dim, num_heads, mlp_ratio,
        neuron=neuron, attention=attention, mlp=mlp, shortcut=shortcut, bias=qkv_bias,
    )  # fmt: skip
    model = SpikingTransformer(
        stem=stem(in_channels, dim, neuron, strides),
        position=shortcut(position(dim), neuron),
        blocks=blocks,
        head=head(dim, num_classes, neuron),
        time_steps=time_steps,
        image_size=image_size,
    )
    trunc_normal_convs(model, std=0.02)
    return model


# How the released code spells our keys; the neurons have some only where they learn (PLIF).
RENAMES = [
    (r"^patch_embed\.proj_lif3\.", r"position.neuron."),
    (r"^patch_embed\.proj_(conv|bn|lif)\.", r"stem.stages.0.proj.\1."),
    (r"^patch_embed\.proj_(conv|bn|lif)(\d)\.", r"stem.stages.\2.proj.\1."),
    (r"^(stem\.stages\.\d)\.proj\.lif\.", r"\1.neuron."),
    (r"^patch_embed\.rpe_(conv|bn)\.", r"position.core.proj.\1."),
    (r"^block\.(\d+)\.(attn|mlp)\.(?:shortcut|fc1)_lif\.", r"blocks.\1.\2.neuron."),
    (r"^block\.(\d+)\.attn\.talking_heads_lif\.", r"blocks.\1.attn.core.attn_neuron."),
    (r"^block\.(\d+)\.mlp\.fc2_lif\.", r"blocks.\1.mlp.core.neuron."),
    (r"^block\.(\d+)\.attn\.([qkv])_lif\.", r"blocks.\1.attn.core.\2_neuron."),
    (r"^block\.(\d+)\.(attn|mlp)\.(\w+)_(conv|bn)\.", r"blocks.\1.\2.core.\3.\4."),
    (r"\.bn\.", r".norm."),
    (r"^head_lif\.", r"head.neuron."),
    (r"^head\.(weight|bias)$", r"head.linear.\1"),
]
# Talking heads, in every released file, and two neurons that own something as PLIF: nothing ever calls them.
DEAD_KEYS = [r"block\.\d+\.attn\.talking_heads\.weight", r"block\.\d+\.attn\.attn_lif\.w", r"patch_embed\.rpe_lif\.w"]

register(sdt, SIZES, published=PUBLISHED, renames=RENAMES, dead_keys=DEAD_KEYS)
