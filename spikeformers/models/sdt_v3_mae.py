"""V3's masked autoencoder: the large E-SpikeFormer, pre-trained to reconstruct the hidden half of an image.

The encoder's convolutions see visible patches only, by norms that are zero elsewhere; its twelve blocks see all places.
A decoder of ordinary attention, which fine-tuning throws away, reconstructs the pixels. In the released code the tokens
reach the decoder in places other than their own (`order=ReleasedOrder`); here they stay. Branches have no scale. A
position and a mask token in the released file are not read, because no forward pass uses them.

Yao et al., "Scaling Spike-driven Transformer with Efficient Spike Firing Approximation Training", TPAMI 2025,
arXiv:2411.16061, after He et al., CVPR 2022, and Tian et al., ICLR 2023.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from spikeformers.layers.attention import SSA
from spikeformers.layers.contracts import MakeAttention, MakeMLP, MakeNeuron, MakeShortcut, MakeStem
from spikeformers.layers.conv import ConvNorm
from spikeformers.layers.masking import InPlace, MaskedNorm, Visible, enlarge
from spikeformers.layers.mlp import MLP
from spikeformers.layers.projection import RepLinear
from spikeformers.layers.shortcut import MembraneShortcut
from spikeformers.layers.stem import StridedConv
from spikeformers.models import sdt_v3_large as large
from spikeformers.models.network import SpikingTransformer
from spikeformers.models.registry import Published, register
from spikeformers.neurons import IntegerHalfUp

SIZES = {"sdt_v3_mae_83m": dict(dims=(128, 256, 512)), "sdt_v3_mae_171m": dict(dims=(192, 384, 768))}

_published = partial(Published, data="ImageNet-1k", paper="arXiv:2411.16061", top1=None)

PUBLISHED = {  # the released code counts a mask token more, and 83m's 6.3 million of a branch that never runs
    "sdt_v3_mae_83m": _published(79_147_840),
    "sdt_v3_mae_171m": _published(173_575_648),
}


class MaskedAutoencoder(SpikingTransformer):
    """A spiking encoder with a decoder that reconstructs what was hidden from it.

    A call returns features `[B, D]` of whole images; training uses `reconstruct`. `patch` is the side of a hidden patch
    in pixels, the encoder's stride.
    """

    def __init__(
        self, encoder: SpikingTransformer, decoder: nn.Module, *, visible: Visible, patch: int, mask_ratio: float
    ):
        super().__init__(
            stem=encoder.stem,
            blocks=encoder.blocks,
            stages=encoder.stages,
            head=encoder.head,
            time_steps=encoder.time_steps,
            image_size=encoder.image_size,
        )
        self.decoder = decoder
        self.visible, self.patch, self.mask_ratio = visible, patch, mask_ratio

    def reconstruct(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The mean squared error of hidden patches, each of mean 0 and deviation 1: `[B, C, H, W] -> []`.

        `generator` draws what is hidden. Raises ValueError for other than images of the model's size.
        """
        if x.ndim != 4 or x.shape[-2:] != (self.image_size, self.image_size):
            raise ValueError(
                f"an input of shape {list(x.shape)} cannot be masked: give images [B, C, {self.image_size}, "
                f"{self.image_size}], or build the model with another image_size"
            )
        side = self.image_size // self.patch
        order = torch.rand(len(x), side * side, device=x.device, generator=generator).argsort(1)  # B N
        restore = order.argsort(1)
        keep = (restore < round((1 - self.mask_ratio) * side * side)).unflatten(1, (side, side))  # B h w
        with self.visible.only(keep):
            stream = self.forward_features(x * enlarge(keep, self.patch)[:, None])  # T B D h w
        painted = self.decoder(stream.mean(0), restore)  # B N P
        return (painted - normed_patches(x, self.patch)).square().mean(-1)[~keep.flatten(1)].mean()


class Decoder(nn.Module):
    """Ordinary attention over all tokens, to pixels: `[B, D, h, w], [B, N] -> [B, N, P]` of each patch.

    The second is the drawn order's inverse, for `order`.
    """

    position: Tensor

    def __init__(self, in_dim: int, dim: int, depth: int, num_heads: int, side: int, pixels: int, order: nn.Module):
        from timm.models.vision_transformer import Block

        super().__init__()
        self.norm = nn.BatchNorm1d(in_dim)
        self.embed = nn.Linear(in_dim, dim)
        self.order = order
        make_norm: Any = partial(nn.LayerNorm, eps=1e-6)
        self.blocks = nn.Sequential(*(Block(dim, num_heads, 4, norm_layer=make_norm) for _ in range(depth)))
        self.out_norm, self.pred = make_norm(dim), nn.Linear(dim, pixels)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        self.register_buffer("position", grid_position(dim, side), persistent=False)

    def forward(self, x: Tensor, restore: Tensor) -> Tensor:
        x = self.norm(x.flatten(2)).transpose(1, 2)  # B N D
        x = self.order(self.embed(x), restore) + self.position
        return self.pred(self.out_norm(self.blocks(x)))


def grid_position(dim: int, side: int) -> Tensor:
    """Sines and cosines of a token's column, then of its row: `[side * side, dim]`.

    Raises ValueError for a `dim` that four does not divide.
    """
    if dim % 4:
        raise ValueError(
            f"decoder_dim {dim} is not a multiple of 4, for sine and cosine of both coordinates: give a multiple"
        )
    rates = 10000 ** -(torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))
    angles = torch.arange(side, dtype=torch.float64)[:, None] * rates  # side, dim / 4
    one = torch.cat([angles.sin(), angles.cos()], 1)
    columns, rows = one.repeat(side, 1), one.repeat_interleave(side, 0)
    return torch.cat([columns, rows], 1).float()


def normed_patches(x: Tensor, patch: int) -> Tensor:
    """Patches, each with mean 0 and deviation 1: `[B, C, H, W] -> [B, N, patch * patch * C]`."""
    x = x.unflatten(-1, (-1, patch)).unflatten(-3, (-1, patch))  # B C h p w p
    x = x.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)  # B N P
    return (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True) + 1e-6).sqrt()


def sdt_v3_mae(
    *,
    dims: tuple[int, ...],
    depth: int = 12,
    num_heads: int = 8,
    mlp_ratio: float = 4,
    drop_path: float = 0.0,
    mask_ratio: float = 0.5,
    decoder_dim: int = 256,
    decoder_depth: int = 4,
    decoder_num_heads: int = 4,
    in_channels: int = 3,
    num_classes: int = 0,
    image_size: int = 224,
    time_steps: int = 1,
    neuron: MakeNeuron = IntegerHalfUp,
    stem: MakeStem = StridedConv,
    conv_mlp: MakeMLP = partial(MLP, kernel_size=3),
    attention: MakeAttention = partial(SSA, projection=RepLinear, proj_bias=False, attn_threshold=1.0),
    mlp: MakeMLP = MLP,
    shortcut: MakeShortcut = MembraneShortcut,
    order: Callable[[], nn.Module] = InPlace,
) -> MaskedAutoencoder:
    """A large E-SpikeFormer as a masked autoencoder: images `[B, C, H, W] -> [B, D]` features, and `reconstruct`.

    `mask_ratio` of the patches are hidden; the rest is `sdt_v3_large`'s, or the decoder's.

    Raises ValueError for a ratio that hides nothing or all, an image that is not of whole patches, and classes.
    """
    check_masks(mask_ratio, image_size, num_classes)
    encoder = large.sdt_v3_large(
        dims=dims, depth=depth, num_heads=num_heads, mlp_ratio=mlp_ratio, drop_path=drop_path, layer_scale=None,
        in_channels=in_channels, num_classes=0, image_size=image_size, time_steps=time_steps, neuron=neuron,
        stem=stem, conv_mlp=conv_mlp, attention=attention, mlp=mlp, shortcut=shortcut,
    )  # fmt: skip
    decoder = partial(Decoder, dims[-1], decoder_dim, decoder_depth, decoder_num_heads, order=order())
    return masked_autoencoder(encoder, decoder, depth, mask_ratio)


PATCH = 16


def check_masks(mask_ratio: float, image_size: int, num_classes: int) -> None:
    """Raises ValueError for a ratio that hides nothing or all, an image that is not of whole patches, and classes."""
    if not 0 < mask_ratio < 1:
        raise ValueError(f"mask_ratio {mask_ratio} is not in (0, 1): some patches are hidden and some are seen")
    if image_size % PATCH:
        raise ValueError(f"image_size {image_size} is not a multiple of {PATCH}, the side of what is hidden at once")
    patches = (image_size // PATCH) ** 2
    if not 0 < round((1 - mask_ratio) * patches) < patches:
        raise ValueError(
            f"mask_ratio {mask_ratio} hides none or all of {patches} patches: give one nearer to 0.5, or a larger "
            "image_size"
        )
    if num_classes:
        raise ValueError(f"num_classes {num_classes} is not 0, but a masked autoencoder has no labels: leave it out")


def masked_autoencoder(
    encoder: SpikingTransformer, decoder: Callable[..., nn.Module], depth: int, mask_ratio: float
) -> MaskedAutoencoder:
    """An encoder of stride 16 with a `decoder(side=, pixels=)`; all norms but those of its last `depth` blocks mask."""
    visible = Visible()
    for part in (encoder.stem, *list(encoder.blocks)[:-depth]):
        for conv in [module for module in part.modules() if isinstance(module, ConvNorm)]:
            conv.norm = MaskedNorm(conv.norm.num_features, visible)
    made = decoder(side=encoder.image_size // PATCH, pixels=PATCH * PATCH * encoder.in_channels)
    return MaskedAutoencoder(encoder, made, visible=visible, patch=PATCH, mask_ratio=mask_ratio)


def renames(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """How the released code spells our keys."""
    return [
        (r"^norm\.", "decoder.norm."),
        (r"^decoder_(embed|blocks|pred)\.", r"decoder.\1."),
        (r"^decoder_norm\.", "decoder.out_norm."),
        *((pattern, ours) for pattern, ours in large.renames(config) if "decoder" not in pattern),
    ]


DEAD_KEYS = [r"pos_embed", r"decoder_pos_embed", r"mask_token", *large.DEAD_KEYS]

register(sdt_v3_mae, SIZES, published=PUBLISHED, renames=renames, dead_keys=DEAD_KEYS)
