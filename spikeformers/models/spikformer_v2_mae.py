"""Spikformer V2's masked autoencoder: the sixteen layers, pre-trained to reconstruct the hidden part of an image.

The paper says no more than that it masks and reconstructs, after masked autoencoders. All else is our choice: what is
masked and how, the decoder and what it learns are those of `sdt_v3_mae.py`, and three quarters are hidden, as in He et
al., CVPR 2022. So the stem's norms are zero at hidden places, and the blocks see all places.

Zhou et al., "Spikformer V2: Join the High Accuracy Club on ImageNet with an SNN Ticket", arXiv:2401.02020.
"""

from functools import partial

from spikeformers.layers.attention import SSA
from spikeformers.layers.contracts import MakeAttention, MakeMLP, MakeNeuron, MakeShortcut, MakeStem
from spikeformers.layers.masking import InPlace
from spikeformers.layers.mlp import MLP
from spikeformers.layers.shortcut import SEWShortcut
from spikeformers.layers.stem import SCS
from spikeformers.models.registry import Published, register
from spikeformers.models.sdt_v3_mae import Decoder, MaskedAutoencoder, check_masks, masked_autoencoder
from spikeformers.models.spikformer_v2 import spikformer_v2
from spikeformers.neurons import LIF

SIZES = {"spikformer_v2_mae_16_768": dict(dim=768, depth=16, num_heads=12)}
PUBLISHED = {  # our count; the paper's is not known
    "spikformer_v2_mae_16_768": Published(175_062_016, "ImageNet-1k", None, "arXiv:2401.02020")
}


def spikformer_v2_mae(
    *,
    dim: int,
    depth: int,
    num_heads: int,
    mlp_ratio: float = 4,
    drop_path: float = 0.0,
    mask_ratio: float = 0.75,
    decoder_dim: int = 256,
    decoder_depth: int = 4,
    decoder_num_heads: int = 4,
    in_channels: int = 3,
    num_classes: int = 0,
    image_size: int = 224,
    time_steps: int = 1,
    neuron: MakeNeuron = LIF,
    stem: MakeStem = SCS,
    attention: MakeAttention = SSA,
    mlp: MakeMLP = MLP,
    shortcut: MakeShortcut = SEWShortcut,
) -> MaskedAutoencoder:
    """A Spikformer V2 as a masked autoencoder: images `[B, C, H, W] -> [B, D]` features, and `reconstruct`.

    `mask_ratio` of the patches are hidden; the rest is `spikformer_v2`'s, or the decoder's.

    Raises ValueError for a ratio that hides nothing or all, an image that is not of whole patches, and classes.
    """
    check_masks(mask_ratio, image_size, num_classes)
    encoder = spikformer_v2(
        dim=dim, depth=depth, num_heads=num_heads, mlp_ratio=mlp_ratio, drop_path=drop_path, in_channels=in_channels,
        num_classes=0, image_size=image_size, time_steps=time_steps, neuron=neuron, stem=stem, attention=attention,
        mlp=mlp, shortcut=shortcut,
    )  # fmt: skip
    decoder = partial(Decoder, dim, decoder_dim, decoder_depth, decoder_num_heads, order=InPlace())
    return masked_autoencoder(encoder, decoder, depth, mask_ratio)


register(spikformer_v2_mae, SIZES, published=PUBLISHED)
