"""One process's share of a set in distributed evaluation."""

from typing import Any

from torch.utils.data import Dataset

NOT_COUNTED = -1  # the label of padding, which no accuracy counts


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
