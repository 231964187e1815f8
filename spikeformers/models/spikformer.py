"""Spikformer: a flat trunk of SSA and MLP with SEW shortcuts, on an SPS stem with a convolution for position.

Zhou et al., "Spikformer: When Spiking Neural Network Meets Transformer", ICLR 2023, arXiv:2209.15425.
"""

from functools import partial

from spikeformers.layers.attention import SSA
from spikeformers.layers.contracts import (
    MakeAttention,
    MakeHead,
    MakeMLP,
    MakeNeuron,
    MakePosition,
    MakeShortcut,
    MakeStem,
)
from spikeformers.layers.head import Head
from spikeformers.layers.mlp import MLP
from spikeformers.layers.position import ConvPosition
from spikeformers.layers.shortcut import SEWShortcut
from spikeformers.layers.stem import CMLSPS, SPS
from spikeformers.models.init import trunc_normal_convs
from spikeformers.models.network import SpikingTransformer
from spikeformers.models.registry import Published, register
from spikeformers.models.trunk import attention_blocks, spread
from spikeformers.neurons import LIF

# The CIFAR code has linear layers where the others have 1x1 convolutions: with biases for q, k, v, and drawn narrower.
_CIFAR10 = dict(image_size=32, strides=(1, 1, 2, 2), qkv_bias=True, projection_std=0.02, num_classes=10)
_CIFAR100 = {**_CIFAR10, "num_classes": 100}
_EVENTS = dict(in_channels=2, image_size=128, time_steps=16, attention=partial(SSA, scale=0.25))

SIZES = {
    "spikformer_8_384": dict(dim=384, depth=8, num_heads=8),  # heads: not stated by the paper
    "spikformer_6_512": dict(dim=512, depth=6, num_heads=8),
    "spikformer_8_512": dict(dim=512, depth=8, num_heads=8),
    "spikformer_10_512": dict(dim=512, depth=10, num_heads=8),
    "spikformer_8_768": dict(dim=768, depth=8, num_heads=12),
    "spikformer_4_256_cifar10": dict(dim=256, depth=4, num_heads=8, **_CIFAR10),
    "spikformer_2_384_cifar10": dict(dim=384, depth=2, num_heads=12, **_CIFAR10),  # heads: not stated by the paper
    "spikformer_4_384_cifar10": dict(dim=384, depth=4, num_heads=12, **_CIFAR10),
    "spikformer_4_256_cifar100": dict(dim=256, depth=4, num_heads=8, **_CIFAR100),
    "spikformer_2_384_cifar100": dict(dim=384, depth=2, num_heads=12, **_CIFAR100),
    "spikformer_4_384_cifar100": dict(dim=384, depth=4, num_heads=12, **_CIFAR100),
    "spikformer_2_256_cifar10dvs": dict(dim=256, depth=2, num_heads=16, num_classes=10, **_EVENTS),
    # 8 heads by the paper's section 4.2; the released code has no script for this set
    "spikformer_2_256_gesture": dict(dim=256, depth=2, num_heads=8, num_classes=11, **_EVENTS),
    # on the CML stem; heads as above, not stated by the paper
    "spikformer_cml_8_384": dict(dim=384, depth=8, num_heads=8, stem=CMLSPS),
    "spikformer_cml_8_512": dict(dim=512, depth=8, num_heads=8, stem=CMLSPS),
    "spikformer_cml_8_768": dict(dim=768, depth=8, num_heads=12, stem=CMLSPS),
    "spikformer_cml_4_384_cifar10": dict(dim=384, depth=4, num_heads=12, stem=CMLSPS, **_CIFAR10),
    "spikformer_cml_4_384_cifar100": dict(dim=384, depth=4, num_heads=12, stem=CMLSPS, **_CIFAR100),
}

_published = partial(Published, paper="arXiv:2209.15425")
_published_cml = partial(Published, paper="arXiv:2305.05954")

PUBLISHED = {
    "spikformer_8_384": _published(16_816_024, "ImageNet-1k", 70.24),
    "spikformer_6_512": _published(23_373_352, "ImageNet-1k", 72.46),
    "spikformer_8_512": _published(29_689_384, "ImageNet-1k", 73.38),
    "spikformer_10_512": _published(36_005_416, "ImageNet-1k", 73.68),
    "spikformer_8_768": _published(66_338_632, "ImageNet-1k", 74.81),
    "spikformer_4_256_cifar10": _published(4_155_178, "CIFAR-10", 93.94),
    "spikformer_2_384_cifar10": _published(5_765_050, "CIFAR-10", 94.80),
    "spikformer_4_384_cifar10": _published(9_324_730, "CIFAR-10", 95.19),
    "spikformer_4_256_cifar100": _published(4_178_308, "CIFAR-100", 75.96),
    "spikformer_2_384_cifar100": _published(5_799_700, "CIFAR-100", 76.95),
    "spikformer_4_384_cifar100": _published(9_359_380, "CIFAR-100", 77.86),
    "spikformer_2_256_cifar10dvs": _published(2_566_666, "CIFAR10-DVS", 80.9),
    "spikformer_2_256_gesture": _published(2_566_923, "DVS128 Gesture", 98.3),
    "spikformer_cml_8_384": _published_cml(16_816_024, "ImageNet-1k", 72.73),
    "spikformer_cml_8_512": _published_cml(29_689_384, "ImageNet-1k", 75.61),
    "spikformer_cml_8_768": _published_cml(66_338_632, "ImageNet-1k", 77.34),
    "spikformer_cml_4_384_cifar10": _published_cml(9_324_730, "CIFAR-10", 95.93),
    "spikformer_cml_4_384_cifar100": _published_cml(9_359_380, "CIFAR-100", 79.65),
}


def spikformer(
    *,
    dim: int,
    depth: int,
    num_heads: int,
    mlp_ratio: float = 4,
    strides: tuple[int, ...] = (2, 2, 2, 2),
    qkv_bias: bool = False,
    projection_std: float | None = None,
    drop_path: float = 0.0,
    in_channels: int = 3,
    num_classes: int = 1000,
    image_size: int = 224,
    time_steps: int = 4,
    neuron: MakeNeuron = LIF,
    stem: MakeStem = SPS,
    position: MakePosition = ConvPosition,
    attention: MakeAttention = SSA,
    mlp: MakeMLP = MLP,
    shortcut: MakeShortcut = SEWShortcut,
    head: MakeHead = Head,
) -> SpikingTransformer:
    """A Spikformer `[B, C, H, W]` or `[T, B, C, H, W] -> [B, K]` of `depth` blocks, `dim` wide.

    `drop_path` grows linearly from 0 to its value over the blocks. `projection_std` draws the blocks' weights from a
    normal distribution cut at 2, with biases 0; None leaves them to torch.
    """
    blocks = attention_blocks(
        spread(drop_path, depth), dim, num_heads, mlp_ratio,
        neuron=neuron, attention=attention, mlp=mlp, shortcut=shortcut, bias=qkv_bias,
    )  # fmt: skip
    if projection_std is not None:
        for b in blocks:
            trunc_normal_convs(b, projection_std)
    return SpikingTransformer(
        stem=stem(in_channels, dim, neuron, strides),
        position=shortcut(position(dim), neuron),
        blocks=blocks,
        head=head(dim, num_classes, neuron),
        time_steps=time_steps,
        image_size=image_size,
    )


# How the released code (three copies: CIFAR, events, ImageNet; a fourth for CML) spells our keys.
RENAMES = [
    *((rf"^patch_embed\.block{i + 1}_(conv|bn)\.", rf"stem.stages.{i}.proj.\1.") for i in range(4)),  # CML's
    (r"^patch_embed\.proj_(conv|bn)\.", r"stem.stages.0.proj.\1."),
    (r"^patch_embed\.proj_(conv|bn)(\d)\.", r"stem.stages.\2.proj.\1."),
    (r"^patch_embed\.rpe_(conv|bn)\.", r"position.core.proj.\1."),
    (r"^block\.(\d+)\.(attn|mlp)\.(\w+)_(linear|conv|bn)\.", r"blocks.\1.\2.core.\3.\4."),
    (r"\.linear\.", r".conv."),
    (r"\.bn\.", r".norm."),
    (r"^head\.(weight|bias)$", r"head.linear.\1"),
]
DEAD_KEYS = [r"block\.\d+\.norm[12]\.\w+", r"norm\.\w+", r"pos_embed"]  # LayerNorms and a position, never called
CLUES = {r"patch_embed\.block1_": "_cml_", r"patch_embed\.proj_": r"spikformer_\d"}

register(spikformer, SIZES, published=PUBLISHED, renames=RENAMES, dead_keys=DEAD_KEYS, clues=CLUES)
