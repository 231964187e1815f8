"""One process's share of a set in distributed evaluation."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

NOT_COUNTED = -1  # the label of padding, which no accuracy counts
_VOID = 255  # what it is in a mask


def collate(items: Sequence[tuple[Tensor, Any]]) -> tuple[Tensor, Any]:
    """A batch of items: inputs stacked, and labels stacked, or listed if they are dicts, as those of detection.

    `NOT_COUNTED` among masks becomes a mask of void; among dicts it stays.
    """
    inputs, labels = zip(*items, strict=True)
    if any(isinstance(label, dict) for label in labels):
        return torch.stack(inputs), list(labels)
    masks = [label for label in labels if isinstance(label, Tensor)]
    if masks and len(masks) < len(labels):
        void = torch.full_like(masks[0], _VOID)
        labels = [label if isinstance(label, Tensor) else void for label in labels]
        return torch.stack(inputs), torch.stack(labels)
    return default_collate([*items])


class Share(Dataset):
    """Every `of`-th item from `first` on, padded with one uncounted item where needed.

    Processes wait for each other at each batch, so all shares have the same length. Together they hold every item once.
    """

    def __init__(self, dataset: Any, first: int, of: int):
        self.dataset, self.first, self.of = dataset, first, of

    def __len__(self) -> int:
        return -(-len(self.dataset) // self.of)

    def __getitem__(self, i: int) -> tuple[Any, int]:
        index = self.first + self.of * i
        return self.dataset[index] if index < len(self.dataset) else (self.dataset[0][0], NOT_COUNTED)
