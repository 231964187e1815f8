"""Spikformer V2: Spikformer on a convolutional stem, without position encoding.

We could read little of the paper: SSA as in Spikformer, a Spiking Convolutional Stem in place of SPS, the parameter
counts, accuracies and time steps of three models, and masked pre-training before the largest is fine-tuned. Heads,
biases, shortcuts, neurons and the missing position are Spikformer's or our choice, and so is the inside of the stem
(`SCS`); its kernels and widths match the published parameter counts to within 6,000. The largest is said to have 172
million in 16 layers; its width is our choice. There is no released code to compare with. `spikformer_v2_mae.py`
pre-trains it.

Zhou et al., "Spikformer V2: Join the High Accuracy Club on ImageNet with an SNN Ticket", arXiv:2401.02020.
"""

from functools import partial

from spikeformers.layers.attention import SSA
from spikeformers.layers.contracts import MakeAttention, MakeHead, MakeMLP, MakeNeuron, MakeShortcut, MakeStem
from spikeformers.layers.head import Head
from spikeformers.layers.mlp import MLP
from spikeformers.layers.shortcut import SEWShortcut
from spikeformers.layers.stem import SCS
from spikeformers.models.network import SpikingTransformer
from spikeformers.models.registry import Published, register
from spikeformers.models.trunk import attention_blocks, spread
from spikeformers.neurons import LIF

SIZES = {
    "spikformer_v2_8_384": dict(dim=384, depth=8, num_heads=8),
    "spikformer_v2_8_512": dict(dim=512, depth=8, num_heads=8),
    "spikformer_v2_16_768": dict(dim=768, depth=16, num_heads=12, time_steps=1),
}

_published = partial(Published, data="ImageNet-1k", paper="arXiv:2401.02020")

PUBLISHED = {  # the papers have 29.11, 51.55 and 172 million parameters; the last accuracy is after pre-training
    "spikformer_v2_8_384": _published(29_111_272, top1=78.80),
    "spikformer_v2_8_512": _published(51_545_064, top1=80.38),
    "spikformer_v2_16_768": _published(172_278_760, top1=81.10),
}


def spikformer_v2(
    *,
    dim: int,
    depth: int,
    num_heads: int,
    mlp_ratio: float = 4,
    strides: tuple[int, ...] = (2, 2, 2, 2),
    drop_path: float = 0.0,
    in_channels: int = 3,
    num_classes: int = 1000,
    image_size: int = 224,
    time_steps: int = 4,
    neuron: MakeNeuron = LIF,
    stem: MakeStem = SCS,
    attention: MakeAttention = SSA,
    mlp: MakeMLP = MLP,
    shortcut: MakeShortcut = SEWShortcut,
    head: MakeHead = Head,
) -> SpikingTransformer:
    """A Spikformer V2 `[B, C, H, W]` or `[T, B, C, H, W] -> [B, K]` of `depth` blocks, `dim` wide.

    `drop_path` grows linearly from 0 to its value over the blocks.
    """
    return SpikingTransformer(
        stem=stem(in_channels, dim, neuron, strides),
        blocks=attention_blocks(
            spread(drop_path, depth), dim, num_heads, mlp_ratio,
            neuron=neuron, attention=attention, mlp=mlp, shortcut=shortcut,
        ),
        head=head(dim, num_classes, neuron),
        time_steps=time_steps,
        image_size=image_size,
    )  # fmt: skip


register(spikformer_v2, SIZES, published=PUBLISHED)
