"""Going on past items that cannot be read: files that broke or vanished, among many."""

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.data import Dataset

from .eval_shards import NOT_COUNTED

logger = logging.getLogger("spikeformers")


class Readable(Dataset):
    """A dataset in which the next readable item stands for one that is not; each is said once, and counted.

    With `counted` False what stands in has a label that no accuracy counts: for evaluation. The count is shared with
    loading processes. Where none of a hundred in a row can be read, the error of the first is raised.
    """

    def __init__(self, dataset: Any, *, counted: bool = True):
        self.dataset, self.counted = dataset, counted
        self._broken = torch.zeros(len(dataset), dtype=torch.bool).share_memory_()

    @property
    def broken(self) -> int:
        """How many could not be read so far."""
        return int(self._broken.sum())

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.first_made(self.dataset.__getitem__, index)

    def first_made(self, make: Callable[[int], tuple[Any, int]], index: int) -> tuple[Any, int]:
        """What `make`, given places in `dataset`, makes of the first from `index` on that it can make anything of."""
        for further in range(100):
            at = (index + further) % len(self)
            try:
                item, label = make(at)
            except (ValueError, OSError) as error:
                self._say(at, error)
            else:
                return item, label if self.counted or not further else NOT_COUNTED
        return make(index)

    def _say(self, index: int, error: Exception) -> None:
        if not self._broken[index]:
            self._broken[index] = True
            logger.warning("left out, number %d of %d: %s", self.broken, len(self), str(error).partition("; ")[0])
