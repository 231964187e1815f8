"""Randomness as a function of seed, epoch and sample, so that a run replayed from a checkpoint is the run."""

import contextlib
import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, Subset
from torch.utils.data.distributed import DistributedSampler

from .image_file import SKIP_BROKEN, ImageFiles, item_at
from .readable import Readable


class EpochSampler(DistributedSampler):
    """This rank's share of an epoch as (epoch, index); `set_epoch` moves on to the next order.

    With `repeats` above 1 it is (epoch, index, copy): an epoch, as long as ever, shows so many copies of so many times
    fewer images, one after the other and on different ranks. Hoffer et al., CVPR 2020, arXiv:1901.09335.

    It is a DistributedSampler so that Lightning leaves it in place and sets its epoch.
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
        # The base adds the epoch to its seed; mixed first, seed 1 is not seed 0 one epoch ahead.
        mixed = int(np.random.SeedSequence(seed).generate_state(1)[0])
        super().__init__(dataset, num_replicas, rank, shuffle, mixed)
        self.repeats = repeats

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        if self.repeats == 1:
            return zip(itertools.repeat(self.epoch), super().__iter__())
        size: int = len(self.dataset)  # pyright: ignore[reportArgumentType]
        order = torch.randperm(size, generator=torch.Generator().manual_seed(self.seed + self.epoch)).tolist()
        places = range(self.rank, self.total_size, self.num_replicas)
        return iter([(self.epoch, order[place // self.repeats], place % self.repeats) for place in places])


class Augmented(Dataset):
    """`dataset` behind `transform`: item (epoch, index) is ([C, H, W] tensor, label), the same at every asking.

    (epoch, index, copy) is another of the same image; a plain index means epoch 0. In the main process the global
    random states are left as they were.

    Raises ValueError, naming the item, where the transform fails; of a `Readable` the next one stands in.
    """

    def __init__(self, dataset: Any, transform: Callable[[Any], torch.Tensor], seed: int = 0):
        self.dataset = dataset
        self.transform = transform
        self.seed = seed

    def __len__(self) -> int:
        return len(self.dataset)

    def source(self, index: int) -> tuple[Any, int]:
        """What item `index` is made of, and its label."""
        return getattr(self.dataset, "items", self.dataset)[index]

    def labels(self) -> list[int]:
        """The label of every item, of which none is read where the set knows its labels."""
        return labels_of(getattr(self.dataset, "items", self.dataset))

    def __getitem__(self, item: int | tuple[int, ...]) -> tuple[torch.Tensor, int]:
        epoch, index, *copy = item if isinstance(item, tuple) else (0, item)

        def made(at: int) -> tuple[torch.Tensor, int]:
            source, label = readable[at]
            with _random_states(self.seed, epoch, at, *copy):
                try:
                    return self.transform(source), label
                except Exception as error:  # of Pillow, torchvision and timm, whose releases differ
                    reason = " ".join(str(error).split()) or type(error).__name__
                    raise ValueError(
                        f"{self._name_of(at)} cannot be prepared in epoch {epoch} ({reason}); replace or delete it, or "
                        f"leave out such by {SKIP_BROKEN}"
                    ) from error

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
    """The labels of a set by its `targets`, its own or those of what it is a part of; else by reading its items."""
    if hasattr(dataset, "targets"):
        return [int(label) for label in dataset.targets]
    if isinstance(dataset, Subset):
        labels = labels_of(dataset.dataset)
        return [labels[i] for i in dataset.indices]
    return labels_of(dataset.dataset) if hasattr(dataset, "dataset") else [label for _, label in dataset]


@contextlib.contextmanager
def _random_states(*key: int) -> Iterator[None]:
    """Seeds Python's, NumPy's and torch's global generators from `key`; in the main process puts them back."""
    # Nothing else draws in a worker, and saving and restoring costs 0.1 to 0.2 ms a sample, nearly all of it NumPy's.
    in_worker = torch.utils.data.get_worker_info() is not None
    states = None if in_worker else (random.getstate(), np.random.get_state(), torch.get_rng_state())
    seeds = np.random.SeedSequence(key).generate_state(3, np.uint64).tolist()
    random.seed(seeds[0])
    np.random.seed(seeds[1] % 2**32)
    torch.default_generator.manual_seed(seeds[2])  # torch.manual_seed would seed the accelerators too
    try:
        yield
    finally:
        if states:
            random.setstate(states[0])
            np.random.set_state(states[1])
            torch.set_rng_state(states[2])
