"""QSD-Transformer: Meta-SpikeFormer with weights of 4 bits, integer neurons without a membrane, and scaled branches.

All weights are quantised, those of the stem, the depthwise convolutions and the head too; biases and norms are not. Its
neurons are stateless, so more than one step changes nothing for an image. In training, the paper aligns attention with
a teacher's; the code released for classification has no teacher, and nor have our recipes.

Qiu et al., "Quantized Spike-driven Transformer", ICLR 2025, arXiv:2501.13492.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import nn

from spikeformers.layers.attention import SSA
from spikeformers.layers.contracts import (
    MakeAttention,
    MakeHead,
    MakeMLP,
    MakeNeuron,
    MakeQuantizer,
    MakeShortcut,
    MakeStem,
)
from spikeformers.layers.head import SpikingHead
from spikeformers.layers.layer_scale import LayerScale
from spikeformers.layers.mlp import MLP, SepConv
from spikeformers.layers.projection import RepConv
from spikeformers.layers.quantizer import LSQ, quantize_weights
from spikeformers.layers.shortcut import MembraneShortcut
from spikeformers.layers.stem import StridedConv
from spikeformers.models.network import SpikingTransformer
from spikeformers.models.registry import Published, register
from spikeformers.models.sdt_v2 import renames as sdt_v2_renames
from spikeformers.models.sdt_v2 import sdt_v2
from spikeformers.neurons import IELIF

# Named after their numbers of weights, as those of Meta-SpikeFormer. The paper counts 32-bit equivalents of 4-bit
# weights, an eighth: its 1.8, 3.9 and 6.8 M are 15m, 31m and 55m.
SIZES = {
    "qsd_8m": dict(dims=(48, 96, 192, 256)),  # in the released code, not in the paper; 75m and 124m too
    "qsd_15m": dict(dims=(64, 128, 256, 360)),
    "qsd_31m": dict(dims=(96, 192, 384, 480)),
    "qsd_55m": dict(dims=(128, 256, 512, 640)),
    "qsd_75m": dict(dims=(128, 256, 512, 640), depths=(9, 3)),
    "qsd_124m": dict(dims=(192, 384, 768, 960)),
}

_published = partial(Published, data="ImageNet-1k", paper="arXiv:2501.13492")

PUBLISHED = {  # with the step sizes and layer scales; the sheet has no accuracy of 15m and 31m
    "qsd_8m": _published(8_369_048, top1=None),
    "qsd_15m": _published(15_160_432, top1=None),
    "qsd_31m": _published(31_403_360, top1=None),
    "qsd_55m": _published(55_442_576, top1=80.3),
    "qsd_75m": _published(74_783_632, top1=None),
    "qsd_124m": _published(123_879_152, top1=None),
}


def qsd(
    *,
    dims: tuple[int, ...],
    depths: tuple[int, ...] = (6, 2),
    num_heads: int = 8,
    mlp_ratio: float = 4,
    layer_scale: float = 1e-6,
    drop_path: float = 0.0,
    in_channels: int = 3,
    num_classes: int = 1000,
    image_size: int = 224,
    time_steps: int = 1,
    neuron: MakeNeuron = IELIF,
    stem: MakeStem = StridedConv,
    mixer_mlp: MakeMLP = SepConv,
    conv_mlp: MakeMLP = partial(MLP, kernel_size=3, bias=False),
    attention: MakeAttention = partial(
        SSA, projection=RepConv, proj_bias=False, scale=0.25, attn_threshold=1.0, attn_neuron=partial(IELIF, unit=0.5)
    ),
    mlp: MakeMLP = MLP,
    shortcut: MakeShortcut = MembraneShortcut,
    head: MakeHead = SpikingHead,
    quantizer: MakeQuantizer = LSQ,
) -> SpikingTransformer:
    """A QSD-Transformer `[B, C, H, W]` or `[T, B, C, H, W] -> [B, K]` of four stages, `dims` wide.

    The stem is half as wide as the first stage. `depths` are those of the two attention stages, whose branches are
    scaled by `layer_scale` at first; the convolutional ones have two blocks each. `drop_path` grows linearly from 0 to
    its value over the blocks. `quantizer` is made for each layer's weights.

    Raises ValueError for other than four dims or two depths, and for an odd first dim.
    """

    def scaled_attention(dim: int, num_heads: int, neuron: MakeNeuron, *, bias: bool = False) -> nn.Module:
        return LayerScale(attention(dim, num_heads, neuron, bias=bias), dim, layer_scale)

    def scaled_mlp(dim: int, hidden_dim: int, neuron: MakeNeuron) -> nn.Module:
        return LayerScale(mlp(dim, hidden_dim, neuron), dim, layer_scale)

    model = sdt_v2(
        dims=dims, depths=depths, num_heads=num_heads, mlp_ratio=mlp_ratio, drop_path=drop_path,
        in_channels=in_channels, num_classes=num_classes, image_size=image_size, time_steps=time_steps,
        neuron=neuron, stem=stem, mixer_mlp=mixer_mlp, conv_mlp=conv_mlp, attention=scaled_attention, mlp=scaled_mlp,
        shortcut=shortcut, head=head,
    )  # fmt: skip
    return quantize_weights(model, quantizer)


def renames(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """How the released code spells our keys: as Meta-SpikeFormer's, but for steps and scaled branches."""
    return [
        (r"^(block\d\.\d+)\.mlp\.(fc[12])_(conv|bn)\.", r"\1.mlp.core.core.\2.\3."),
        *sdt_v2_renames(config),
        (r"\.attn\.core\.", r".attn.core.core."),
        (r"\.layer_scale1$", r".attn.core.scale"),
        (r"\.layer_scale2$", r".mlp.core.scale"),
        (r"\.alpha$", r".quantizer.step"),
        (r"^head\.quantizer\.", r"head.linear.quantizer."),
    ]


# A quantiser of activations that does nothing, in front of each layer, and whether a layer's steps were set: they were.
DEAD_KEYS = [r".+\.act\.(alpha|zero_point|init_state|signed)", r".+\.init_state"]

register(qsd, SIZES, published=PUBLISHED, renames=renames, dead_keys=DEAD_KEYS)
