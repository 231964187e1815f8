"""Sets of labelled images by name: the built-in digits, torchvision's small sets, or a folder of one's own."""

import contextlib
import difflib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset, Subset

from . import digits
from .folders import read_folder
from .split import stratified_split


@dataclass(frozen=True)
class ImageSets:
    """The three splits of one labelled image set; every item is (PIL image, label)."""

    name: str
    train: Dataset
    validation: Dataset
    test: Dataset
    classes: tuple[str, ...]
    channels: int  # 3 for images of mode RGB, 1 for mode L
    image_size: int | None  # pixels a side; None leaves it to the model
    mean: tuple[float, ...]  # of the pixels in 0..1 units, one a channel
    std: tuple[float, ...]
    interpolation: str
    skipped: tuple[str, ...] = ()  # broken files that were left out


@dataclass(frozen=True)
class _Traits:
    """What a set is like, apart from its images."""

    channels: int
    image_size: int | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str


_DIGITS = _Traits(1, 16, digits.MEAN, digits.STD, "bilinear")
_FOLDER = _Traits(3, None, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bicubic")  # ImageNet's mean and std
_TORCHVISION = {
    "cifar10": ("CIFAR10", _Traits(3, 32, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616), "bicubic")),
    "cifar100": ("CIFAR100", _Traits(3, 32, (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761), "bicubic")),
    "fashion_mnist": ("FashionMNIST", _Traits(1, 28, (0.2860,), (0.3530,), "bilinear")),
    "mnist": ("MNIST", _Traits(1, 28, (0.1307,), (0.3081,), "bilinear")),
}
