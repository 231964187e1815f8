"""Mixup and cutmix of images and of clips."""

from timm.data.mixup import Mixup as ImageMixup
from torch import Tensor


class Mixup(ImageMixup):
    """timm's Mixup, extended to clips: two clips are mixed frame by frame, with one weight or one box for all frames.

    `[B, C, H, W] or [B, T, C, H, W], [B] labels -> the same shape, [B, K] targets`.
    """

    def __call__(self, x: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        mixed, targets = super().__call__(x.flatten(1, -3), target)  # B C H W, or B T*C H W, as one image
        return mixed.view(x.shape), targets
