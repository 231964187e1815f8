"""Randomness as a function of seed, epoch and sample, so that a resumed run equals an uninterrupted one."""

import contextlib
import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, Subset
from torch.utils.data.distributed import DistributedSampler

from spikeformers.memory import is_shortage

from .image_dataset import ImageFiles, item_at
from .image_file import SKIP_BROKEN
from .readable import Readable


class EpochSampler(DistributedSampler):
    """This rank's share of an epoch as (epoch, index); `set_epoch` sets the order.

    With `repeats` n above 1 it yields (epoch, index, copy): each drawn image appears n times in a row, on different
    ranks, and an epoch keeps its length by drawing 1/n of the images. Hoffer et al., CVPR 2020, arXiv:1901.09335.

    A DistributedSampler, because Lightning leaves those in place and sets their epoch.

    Args:
        dataset: The set to draw from.
        num_replicas: How many processes share an epoch.
        rank: Which of them this is.
        shuffle: Draw a new order each epoch.
        seed: Determines the orders.
        repeats: How often an epoch shows each image it draws.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        num_replicas: int = 1,
        rank: int = 0,
        shuffle: bool = True,
        seed: int = 0,
        repeats: int = 1,
    ):
        # The base class adds the epoch to its seed; hashing it first keeps seed 1 from being seed 0 one epoch ahead.
        mixed = int(np.random.SeedSequence(seed).generate_state(1)[0])
        super().__init__(dataset, num_replicas, rank, shuffle, mixed)
        self.repeats = repeats

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        if self.repeats == 1:
            return zip(itertools.repeat(self.epoch), super().__iter__())
        size: int = len(self.dataset)  # pyright: ignore[reportArgumentType]
        drawn = torch.Generator().manual_seed(self.seed + self.epoch)
        order = torch.randperm(size, generator=drawn).tolist() if self.shuffle else range(size)
        places = range(self.rank, self.total_size, self.num_replicas)
        return iter([(self.epoch, order[place // self.repeats], place % self.repeats) for place in places])


class Augmented(Dataset):
    """`dataset` with `transform` applied: item (epoch, index) is ([C, H, W] tensor, label), the same on every access.

    (epoch, index, copy) augments the same image differently; a plain index means epoch 0. The main process's global
    random states are restored. An item that cannot be read or transformed raises ValueError with its name; in a
    `Readable` the next item replaces it.

    Args:
        dataset: Items (PIL image or frames, label).
        transform: From an image or frames to a tensor; it may draw from Python's, NumPy's and torch's generators.
        seed: Determines what the transform draws.
    """

    def __init__(self, dataset: Any, transform: Callable[[Any], torch.Tensor], seed: int = 0):
        self.dataset = dataset
        self.transform = transform
        self.seed = seed

    def __len__(self) -> int:
        return len(self.dataset)

    def source(self, index: int) -> tuple[Any, int]:
        """Item `index` before the transform, and its label."""
        return getattr(self.dataset, "items", self.dataset)[index]

    def labels(self) -> list[int]:
        """The label of every item, without reading items if the set knows its labels."""
        return labels_of(getattr(self.dataset, "items", self.dataset))

    def made(self, source: Any, label: Any) -> tuple[torch.Tensor, Any]:
        """An item after the transform, with its label."""
        return self.transform(source), label

    def __getitem__(self, item: int | tuple[int, ...]) -> tuple[torch.Tensor, Any]:
        with _restored_states():
            return self._drawn(item)

    def __getitems__(self, items: Sequence[int | tuple[int, ...]]) -> list[tuple[torch.Tensor, Any]]:
        """The items of a batch, which DataLoader asks for at once: the random states are restored once."""
        with _restored_states():
            return [self._drawn(item) for item in items]

    def _drawn(self, item: int | tuple[int, ...]) -> tuple[torch.Tensor, Any]:
        epoch, index, *copy = item if isinstance(item, tuple) else (0, item)

        def failed(what: str, at: int, error: Exception) -> ValueError:
            reason = " ".join(str(error).split()) or type(error).__name__
            when = f" in epoch {epoch + 1}" if isinstance(item, tuple) else ""  # users count from 1
            return ValueError(
                f"{self._name_of(at)} cannot be {what}{when} ({reason}); replace or delete it, or skip such "
                f"items with {SKIP_BROKEN}"
            )

        def made(at: int) -> tuple[torch.Tensor, Any]:
            try:
                source, label = readable[at]
            except OSError as error:  # its file vanished after the start, or its disk failed
                raise failed("read", at, error) from error
            _seed_generators(self.seed, epoch, at, *copy)
            try:
                return self.made(source, label)
            except Exception as error:  # of Pillow, torchvision and timm, whose releases differ
                if is_shortage(error):  # which is no fault of the item: nothing is skipped for it
                    raise
                raise failed("prepared", at, error) from error

        readable = self.dataset
        if isinstance(readable, Readable):
            reader, readable = readable, readable.dataset
            return reader.first_made(made, index)
        return made(index)

    def _name_of(self, index: int) -> str:
        dataset, index = item_at(self.dataset, index)
        if isinstance(dataset, ImageFiles):
            return dataset.name_of(index)
        items = getattr(dataset, "items", None)  # recordings, which have paths
        return items[index][0].path if items else f"item {index}"


def labels_of(dataset: Any) -> list[int]:
    """The labels of a set, from its own or its parent's `targets`, or else by reading its items."""
    if hasattr(dataset, "targets"):
        return [int(label) for label in dataset.targets]
    if isinstance(dataset, Subset):
        labels = labels_of(dataset.dataset)
        return [labels[i] for i in dataset.indices]
    return labels_of(dataset.dataset) if hasattr(dataset, "dataset") else [label for _, label in dataset]


def _seed_generators(*key: int) -> None:
    """Seeds Python's, NumPy's and torch's global generators from `key`."""
    seeds = np.random.SeedSequence(key).generate_state(3, np.uint64).tolist()
    random.seed(seeds[0])
    np.random.seed(seeds[1] % 2**32)
    torch.default_generator.manual_seed(seeds[2])  # torch.manual_seed would seed the accelerators too


@contextlib.contextmanager
def _restored_states() -> Iterator[None]:
    """Restores the three generators at the end, in the main process: nothing else draws in a worker."""
    if torch.utils.data.get_worker_info() is not None:
        yield
        return
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
