"""A Lightning DataModule for a recipe's images or clips."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import lightning.pytorch as pl
from torch.utils.data import DataLoader, Dataset

from spikeformers.data import EpochSampler, EventSets, ImageSets
from spikeformers.data.dense.sets import COLORS, MOVES
from spikeformers.data.eval_shards import Share, collate
from spikeformers.data.loading import eval_loader, leave_interrupts_to_the_main_process
from spikeformers.data.sets import Sets
from spikeformers.training.recipe import Augment, Recipe

AUGMENTS = ImageSets.augments | EventSets.augments | MOVES | COLORS


class _Resumed(EpochSampler):
    """An epoch's order without its first `skip` items, once: the run trained on those before it was interrupted."""

    skip = 0

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        skip, self.skip = self.skip, 0
        return itertools.islice(super().__iter__(), skip, None)


class Loaders(pl.LightningDataModule):
    """Training batches drawn by seed and epoch, and the splits that are evaluated each epoch.

    A batch is `[B, C, H, W]` of images or `[B, T, C, H, W]` of clips. `preprocess` is what a checkpoint stores.

    Raises what reading clips raises, and ValueError if the training set has fewer items than a batch.
    """

    def __init__(self, recipe: Recipe, sets: Sets, preprocess: dict[str, Any]):
        super().__init__()
        self.recipe, self.sets, self.preprocess = recipe, sets, preprocess
        if (train := len(sets.train)) < recipe.batch_size:
            raise ValueError(
                f"{sets.name} has {train} training {sets.kind}, fewer than batch_size {recipe.batch_size}: lower "
                "batch_size"
            )
        settings, augment = asdict(recipe.data), asdict(recipe.augment)
        _check_kind(sets, recipe.augment)
        self.train = sets.augmented(sets.train, preprocess, settings, augment, recipe.seed)
        self.test = sets.prepared(sets.test, preprocess, settings)
        splits = {"val": sets.prepared(sets.validation, preprocess, settings)}
        if recipe.data.test_each_epoch:
            splits["test"] = self.test
        self.evaluated = {name: split for name, split in splits.items() if len(split)}

    @property
    def evaluated_each_epoch(self) -> list[str]:
        """Names of the splits in the order of `val_dataloader`."""
        return list(self.evaluated)

    def steps_per_epoch(self) -> int:
        """Batches that one process draws in an epoch. Raises ValueError if its share, or a limit, leaves none."""
        trainer: Any = self.trainer
        share = math.ceil(len(self.train) / trainer.world_size)
        batches = share // self.recipe.batch_size
        if not batches:
            raise ValueError(
                f"{self.sets.name} has {share} training {self.sets.kind} for each of {trainer.world_size} processes, "
                f"fewer than batch_size {self.recipe.batch_size}: lower batch_size"
            )
        return limited(batches, trainer.limit_train_batches, self.recipe)

    def train_dataloader(self) -> DataLoader:
        recipe = self.recipe
        trainer: Any = self.trainer
        sampler = _Resumed(
            self.train,
            num_replicas=trainer.world_size,
            rank=trainer.global_rank,
            seed=recipe.seed,
            repeats=recipe.augment.repeats,
        )
        # Lightning sets the sampler's epoch only after the first batches of a resumed run are drawn.
        sampler.set_epoch(trainer.fit_loop.epoch_progress.current.processed)
        epoch = trainer.fit_loop.epoch_progress.current
        if epoch.started > epoch.processed:  # a run resumed in the middle of an epoch goes on with the next batch
            sampler.skip = trainer.fit_loop.epoch_loop.batch_progress.current.processed * recipe.batch_size
        return DataLoader(
            self.train,
            recipe.batch_size,
            sampler=sampler,
            drop_last=True,
            num_workers=recipe.data.workers,
            persistent_workers=recipe.data.workers > 0,
            worker_init_fn=leave_interrupts_to_the_main_process,
            collate_fn=collate,
            pin_memory=trainer.strategy.root_device.type == "cuda",
        )

    def val_dataloader(self) -> list[DataLoader]:
        trainer: Any = self.trainer
        shares = (Share(split, trainer.global_rank, trainer.world_size) for split in self.evaluated.values())
        return [self.eval_loader(share) for share in shares]

    def on_exception(self, exception: BaseException) -> None:
        # Ends the loading processes now: the garbage collector would wait five seconds for each.
        iterator: Any = getattr(getattr(self.trainer, "train_dataloader", None), "_iterator", None)
        if hasattr(iterator, "_shutdown_workers"):
            iterator._shutdown_workers()

    def eval_loader(self, split: Dataset) -> DataLoader:
        """Every item of a split once, in order."""
        return eval_loader(split, self.recipe.batch_size, self.recipe.data.workers)


def limited(batches: int, limit: float | None, recipe: Recipe) -> int:
    """Batches of an epoch that the Trainer's `limit_train_batches`, a number or a share, leaves of `batches`.

    Raises ValueError if it leaves none.
    """
    left = min(batches, limit) if isinstance(limit, int) else int(batches * (1.0 if limit is None else limit))
    if left < 1:
        raise ValueError(f"trainer {recipe.trainer} leaves no step of training: raise what limits it")
    return left


def _check_kind(sets: Sets, augment: Augment) -> None:
    """Raises ValueError for augmentation that has no effect on this kind of data."""
    for name in sorted((augment.changed() & AUGMENTS) - sets.augments):
        raise ValueError(f"augment.{name} has no effect on the {sets.kind} of {sets.name}: leave it out")
