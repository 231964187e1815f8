"""Cutmix of images with masks."""

import numpy as np
import pytest
import torch

from spikeformers.training.mixup import MaskCutmix


@pytest.mark.parametrize("steps", [(), (3,)])
def test_a_box_comes_from_the_image_opposite_with_its_mask(steps):
    np.random.seed(1)
    masks = torch.arange(4).view(4, 1, 1).expand(4, 12, 16)  # each image is of one class, and of its number
    x = masks.view(4, *(1 for _ in steps), 1, 12, 16).expand(4, *steps, 2, 12, 16).float()
    mix, shares = MaskCutmix(1.0), []
    for _ in range(20):
        mixed, targets = mix(x, masks)
        assert mixed.shape == x.shape and targets.shape == masks.shape
        per_pixel = mixed.view(4, -1, 12, 16)
        assert torch.equal(per_pixel, targets[:, None].expand_as(per_pixel).float())
        moved = targets != masks
        assert all(torch.equal(moved[i], moved[0]) for i in range(4))  # one box
        assert torch.equal(targets, torch.where(moved, masks.flip(0), masks))
        rows, columns = moved[0].any(1), moved[0].any(0)
        assert torch.equal(moved[0], rows[:, None] & columns)
        shares.append(float(moved[0].float().mean()))
    assert min(shares) < 0.2 and max(shares) > 0.4
    assert torch.equal(x[:, ..., 0, 0].flatten(1)[:, 0], torch.arange(4.0))  # what came in is as it was


def test_a_share_of_batches_is_mixed():
    np.random.seed(0)
    x, masks = torch.zeros(2, 3, 8, 8), torch.arange(2).view(2, 1, 1).expand(2, 8, 8)
    mix = MaskCutmix(1.0, 0.25)
    mixed = sum(mix(x, masks)[1] is not masks for _ in range(400))
    assert 70 < mixed < 130
