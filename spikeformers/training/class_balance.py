"""Weights that keep frequent classes from drowning rare ones, for masks."""

from collections.abc import Sized
from multiprocessing.pool import ThreadPool

import numpy as np
import torch
from torch import Tensor

from spikeformers.data.dense.labelled import VOID, MaskedImages
from spikeformers.data.image_dataset import item_at


def class_weights(masked: Sized, classes: int, power: float) -> Tensor:
    """Weights `[classes]`: `(median frequency / frequency of the class) ** power`, 1 for a class that never occurs.

    A class's frequency is its share of the pixels of the images that it occurs in, as Eigen and Fergus have it
    (arXiv:1411.4734). `masked` has images with masks, whose void pixels do not count. Reads every mask once.
    """
    with ThreadPool(16) as pool:  # bound by the disk
        counted = pool.map(lambda i: _pixels(*item_at(masked, i)), range(len(masked)), chunksize=32)
    pixels = np.stack(counted)[:, :classes]  # of each image and class
    there = pixels > 0
    occurs = there.any(0)
    around = (there * pixels.sum(1, keepdims=True)).sum(0)
    frequencies = pixels.sum(0)[occurs] / around[occurs]
    weights = np.ones(classes)
    weights[occurs] = (np.median(frequencies) / frequencies) ** power
    return torch.from_numpy(weights).float()


def _pixels(images: MaskedImages, index: int) -> np.ndarray:
    """The number of pixels of each class, void last."""
    return np.bincount(images.mask(index).ravel(), minlength=VOID + 1)
