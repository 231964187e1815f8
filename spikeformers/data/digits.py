"""The 1,797 handwritten digits that ship with scikit-learn: real images, no download."""

from typing import Any

import numpy as np
from PIL import Image
from torch.utils.data import Dataset

from .split import stratified_split

# Of the training split's 8x8 pixels, scaled to 0..1.
MEAN, STD = (0.3058,), (0.3764,)


class Digits(Dataset):
    """The digits at `indices`; item i is (PIL image of mode L, 8x8, label)."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, indices: list[int]):
        self.images = images[indices]
        self.targets = labels[indices].tolist()

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return Image.fromarray(self.images[index]), self.targets[index]


def load_digits() -> tuple[Digits, Digits]:
    """The training and test digits. The test split is the same fifth of every class for every seed."""
    from sklearn.datasets import load_digits as load_bunch

    bunch: Any = load_bunch(return_X_y=True)  # arrays, not data frames
    images, labels = bunch
    images = np.round(images.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)  # stored as 0..16
    train, test = stratified_split(labels, 0.2, seed=0)
    return Digits(images, labels, train), Digits(images, labels, test)
