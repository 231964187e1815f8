"""Mixup and cutmix of images and of clips."""

from typing import Any

import numpy as np
from timm.data.mixup import Mixup as ImageMixup
from timm.data.mixup import rand_bbox
from torch import Tensor

from spikeformers.training.recipe import Recipe


class Mixup(ImageMixup):
    """timm's Mixup, extended to clips: two clips are mixed frame by frame, with one weight or one box for all frames.

    `[B, C, H, W] or [B, T, C, H, W], [B] labels -> the same shape, [B, K] targets`.
    """

    def __call__(self, x: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        mixed, targets = super().__call__(x.flatten(1, -3), target)  # B C H W, or B T*C H W, as one image
        return mixed.view(x.shape), targets


class MaskCutmix:
    """Cutmix for segmentation: a box of each image, and of its mask, comes from the image opposite in the batch.

    `[B, C, H, W] or [B, T, C, H, W], [B, H, W] -> the same shapes`. All images of a batch get the same box, of timm's
    size. `prob` is the probability of mixing a batch. Yun et al., ICCV 2019, arXiv:1905.04899.
    """

    def __init__(self, alpha: float, prob: float = 1.0):
        self.alpha, self.prob = alpha, prob

    def __call__(self, x: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        if np.random.rand() >= self.prob:
            return x, masks
        top, bottom, left, right = rand_bbox(x.shape, np.random.beta(self.alpha, self.alpha))
        box = (..., slice(top, bottom), slice(left, right))
        mixed, targets = x.clone(), masks.clone()
        mixed[box], targets[box] = x.flip(0)[box], masks.flip(0)[box]
        return mixed, targets


def make_mix(recipe: Recipe, task: str, num_classes: int) -> Any:
    """A recipe's mixup and cutmix, `(inputs, labels) -> (inputs, targets)`, or None if both are off."""
    augment = recipe.augment
    if augment.mixup == 0 and augment.cutmix == 0:
        return None
    if task == "segmentation":
        return MaskCutmix(augment.cutmix, augment.mix_prob)
    return Mixup(
        mixup_alpha=augment.mixup,
        cutmix_alpha=augment.cutmix,
        prob=augment.mix_prob,
        switch_prob=augment.mix_switch_prob,
        label_smoothing=recipe.label_smoothing,
        num_classes=num_classes,
    )
