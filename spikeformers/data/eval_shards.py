"""One process's share of a set that all evaluate together."""

from typing import Any

from torch.utils.data import Dataset

NOT_COUNTED = -1  # the label of what stands for nothing, and is in no accuracy


class Share(Dataset):
    """Every `of`-th item from `first` on; shares too short by one end with an item that is not counted.

    All shares are as long, for processes wait for each other at each batch, and together they hold every item once.
    """

    def __init__(self, dataset: Any, first: int, of: int):
        self.dataset, self.first, self.of = dataset, first, of

    def __len__(self) -> int:
        return -(-len(self.dataset) // self.of)

    def __getitem__(self, i: int) -> tuple[Any, int]:
        index = self.first + self.of * i
        return self.dataset[index] if index < len(self.dataset) else (self.dataset[0][0], NOT_COUNTED)
