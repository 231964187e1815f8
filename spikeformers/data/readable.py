"""Skipping items that cannot be read, such as files that broke or vanished."""

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.data import Dataset

from .eval_shards import NOT_COUNTED

logger = logging.getLogger("spikeformers")


class Readable(Dataset):
    """A dataset that replaces an unreadable item by the next readable one, and logs and counts it once.

    With `counted=False`, for evaluation, the replacement's label is `NOT_COUNTED`. Worker processes share the count.
    After a hundred unreadable items in a row it raises the error of the first.
    """

    def __init__(self, dataset: Any, *, counted: bool = True):
        self.dataset, self.counted = dataset, counted
        self._broken = torch.zeros(len(dataset), dtype=torch.bool).share_memory_()

    @property
    def broken(self) -> int:
        """How many items could not be read so far."""
        return int(self._broken.sum())

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.first_made(self.dataset.__getitem__, index)

    def first_made(self, make: Callable[[int], tuple[Any, int]], index: int) -> tuple[Any, int]:
        """The result of `make(i)` for the first `i` from `index` on for which it does not fail."""
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
            logger.warning("skipped, number %d of %d: %s", self.broken, len(self), str(error).partition("; ")[0])
