"""SGLFormer: a first block that mixes within strided windows and by convolutions, then blocks of SSA and MLP.

On CIFAR and events the head has a weight per token and step, so such a model takes only its own image size, and no more
than its number of steps. The code released for ImageNet lets the state of the last neuron of each SSA run from one
sample of a batch into the next, and, where the stem pools late, that of the stem's first. This model does not; to
compare, `spikeformers.neurons.batch_leaking_lif` does as that code.

Zhang et al., "SGLFormer: Spiking Global-Local-Fusion Transformer with high performance", Frontiers in Neuroscience
2024, doi:10.3389/fnins.2024.1371290.
"""

import inspect
from collections.abc import Mapping
from functools import partial
from math import prod
from typing import Any

from spikeformers.layers.attention import SSA, DilatedWindowSSA
from spikeformers.layers.block import block
from spikeformers.layers.contracts import MakeAttention, MakeHead, MakeMLP, MakeNeuron, MakeShortcut, MakeStem
from spikeformers.layers.head import Head, SpatioTemporalHead
from spikeformers.layers.mlp import MLP, LocalUnit
from spikeformers.layers.shortcut import SEWShortcut
from spikeformers.layers.stem import CMLStem
from spikeformers.models.network import SpikingTransformer
from spikeformers.models.registry import Published, Renames, register
from spikeformers.models.trunk import attention_blocks, spread
from spikeformers.neurons import LIF

_LATE, _EARLY = (1, 2, 2, 2, 2), (2, 2, 2, 2, 1)  # where the stem pools; early: the paper's models with a star
_SMALL = dict(
    num_heads=16, stem=partial(CMLStem, narrow=6), head=SpatioTemporalHead,
    attention=partial(SSA, proj_bias=False), mlp=partial(MLP, bias=False),
)  # fmt: skip
_CIFAR = dict(dim=384, depth=3, strides=(1, 1, 1, 2, 2), image_size=32, **_SMALL)
_EVENTS = dict(dim=256, strides=(1, 2, 2, 2, 2), in_channels=2, image_size=128, **_SMALL)

SIZES = {
    "sglformer_8_384": dict(dim=384, depth=7, num_heads=6, strides=_LATE),  # where it pools: not stated
    "sglformer_8_512": dict(dim=512, depth=7, num_heads=8, strides=_LATE),
    "sglformer_8_512_star": dict(dim=512, depth=7, num_heads=8, strides=_EARLY),
    "sglformer_8_768_star": dict(dim=768, depth=7, num_heads=12, strides=_EARLY),
    "sglformer_4_384_cifar10": dict(num_classes=10, **_CIFAR),
    "sglformer_4_384_cifar100": dict(num_classes=100, **_CIFAR),
    # Depth: 1 has the paper's 2.48 M (2.58 M with 16 steps); the released code, depth 3, has 4.07 M.
    "sglformer_3_256_cifar10dvs": dict(num_classes=10, depth=1, time_steps=10, **_EVENTS),
    # As coded; the paper has 2.17 M (2.08 M with 10 steps), which no depth has.
    "sglformer_3_256_gesture": dict(num_classes=11, depth=3, time_steps=16, **_EVENTS),
}

_published = partial(Published, paper="doi:10.3389/fnins.2024.1371290")

PUBLISHED = {
    "sglformer_8_384": _published(16_239_640, "ImageNet-1k", 79.44),
    "sglformer_8_512": _published(28_658_728, "ImageNet-1k", 82.28),
    "sglformer_8_512_star": _published(28_658_728, "ImageNet-1k", 81.93),
    "sglformer_8_768_star": _published(64_006_216, "ImageNet-1k", 83.73),
    "sglformer_4_384_cifar10": _published(8_852_874, "CIFAR-10", 96.76),
    "sglformer_4_384_cifar100": _published(8_887_524, "CIFAR-100", 82.26),
    "sglformer_3_256_cifar10dvs": _published(2_484_050, "CIFAR10-DVS", 82.9),
    "sglformer_3_256_gesture": _published(4_164_691, "DVS128 Gesture", 98.6),
}


def sglformer(
    *,
    dim: int,
    depth: int,
    num_heads: int,
    mlp_ratio: float = 4,
    strides: tuple[int, ...] = _LATE,
    qkv_bias: bool = False,
    drop_path: float = 0.0,
    in_channels: int = 3,
    num_classes: int = 1000,
    image_size: int = 224,
    time_steps: int = 4,
    neuron: MakeNeuron = LIF,
    stem: MakeStem = CMLStem,
    unit_mlp: MakeMLP = LocalUnit,
    local_attention: MakeAttention = partial(DilatedWindowSSA, proj_bias=False),
    local_mlp: MakeMLP = partial(MLP, bias=False),
    attention: MakeAttention = SSA,
    mlp: MakeMLP = MLP,
    shortcut: MakeShortcut = SEWShortcut,
    head: MakeHead = Head,
) -> SpikingTransformer:
    """An SGLFormer `[B, C, H, W]` or `[T, B, C, H, W] -> [B, K]` of `depth` blocks, `dim` wide; the first is local.

    For ImageNet and CIFAR the paper counts one block more. A head that takes `tokens=` gets their number. `drop_path`
    grows linearly from 0 to its value over the blocks.
    """
    first, *rates = spread(drop_path, depth)
    hidden_dim, tokens = int(mlp_ratio * dim), (image_size // prod(strides)) ** 2
    if "tokens" in inspect.signature(head).parameters:
        head = partial(head, **{"tokens": tokens, **getattr(head, "keywords", {})})
    local = block(
        shortcut, neuron, drop_path=first,
        unit=unit_mlp(dim, hidden_dim, neuron),
        attn=local_attention(dim, num_heads, neuron, bias=qkv_bias),
        mlp=local_mlp(dim, hidden_dim, neuron),
    )  # fmt: skip
    blocks = attention_blocks(
        rates, dim, num_heads, mlp_ratio, neuron=neuron, attention=attention, mlp=mlp, shortcut=shortcut, bias=qkv_bias
    )
    return SpikingTransformer(
        stem=stem(in_channels, dim, neuron, strides),
        blocks=[local, *blocks],
        head=head(dim, num_classes, neuron),
        time_steps=time_steps,
        image_size=image_size,
    )


def renames(config: Mapping[str, Any]) -> Renames:
    """How the released code (two builds: ImageNet, and CIFAR and events) spells our keys."""
    indices = range(config["depth"])
    return [
        *(
            (rf"^blocks\.{i}\.(attn|mlp)\.", rf"blocks.{i + 1}.\1.") for i in reversed(indices)
        ),  # the local one is first
        *((rf"^blocks\.0\.ssa{i + 1}\.", f"blocks.{i}.attn.") for i in indices),
        *((rf"^blocks\.0\.mlp{i + 1}\.", f"blocks.{i}.mlp.") for i in indices),
        (r"^localblock\.0\.local2_SSA\.", "blocks.0.attn."),
        (r"^localblock\.0\.local2_MLP\.", "blocks.0.mlp."),
        (r"^(?:localblock\.0\.local1|blocks\.0\.loc)\.", "blocks.0.unit."),
        (r"^patch_embed\.proj_(conv|bn)\.", r"stem.stages.0.proj.\1."),
        (r"^patch_embed\.proj(\d)_(conv|bn)\.", r"stem.stages.\1.proj.\2."),
        (r"^stem\.conv\.", "stem.stages.0.proj."),
        (r"^tokenizer\.conv(\d)\.", r"stem.stages.\1.proj."),
        (r"\.conv(?:1x1|3x3)\.", ".conv."),
        (r"\.unit\.conv\.", ".unit.near.core."),
        (r"\.unit\.conv1x1_(\d)\.", r".unit.far.core.fc\1."),
        (r"\.unit\.dwconv3x3\.", ".unit.far.core.depthwise."),
        (r"\.attn\.([qkv]|proj)_conv\.(conv|bn)\.", r".attn.core.\1.\2."),
        (r"\.attn\.([qkv]|proj)_(conv|bn)\.", r".attn.core.\1.\2."),
        (r"\.mlp\.mlp(\d)\.", r".mlp.core.fc\1."),
        (r"\.mlp\.fc(\d)_(conv|bn)\.", r".mlp.core.fc\1.\2."),
        (r"\.bn\.", ".norm."),
        (r"^full_size_conv\.", "head.conv."),
        (r"^bn\.", "head.norm."),
        (r"^head\.(weight|bias)$", r"head.linear.\1"),
    ]


DEAD_KEYS = [r"blocks\.\d+\.norm[12]\.\w+"]  # LayerNorms, never called

register(sglformer, SIZES, published=PUBLISHED, renames=renames, dead_keys=DEAD_KEYS)
