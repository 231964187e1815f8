"""Loaders of a recipe's images, as Lightning wants them."""

import math
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning.pytorch as pl
from torch.utils.data import DataLoader, Dataset
from torchdata.stateful_dataloader import StatefulDataLoader

from spikeformers.data import Augmented, EpochSampler, ImageSets, eval_transform, load_images, train_transform
from spikeformers.data.shares import Share
from spikeformers.training.recipe import Recipe


class ImageLoaders(pl.LightningDataModule):
    """Training batches drawn by seed and epoch, and the splits that are evaluated each epoch, `[B, C, H, W]` each.

    `preprocess` is what `eval_transform` takes, and what travels with a checkpoint.

    Raises what `load_images` raises, and ValueError where the training set has fewer images than a batch.
    """

    def __init__(self, recipe: Recipe, sets: ImageSets, preprocess: dict[str, Any]):
        super().__init__()
        self.recipe, self.sets, self.preprocess = recipe, sets, preprocess
        train = len(sets.train)  # pyright: ignore[reportArgumentType]
        if train < recipe.batch_size:
            raise ValueError(
                f"{sets.name} has {train} training images, fewer than batch_size {recipe.batch_size}: lower it"
            )
        augment = recipe.augment
        self.transform = train_transform(
            image_size=preprocess["image_size"],
            mean=preprocess["mean"],
            std=preprocess["std"],
            interpolation=preprocess["interpolation"],
            hflip=augment.hflip,
            crop_scale=augment.crop_scale,
            crop_ratio=augment.crop_ratio,
            rand_augment=augment.rand_augment,
            rand_augment_ops=augment.rand_augment_ops,
            erase=augment.erase,
            erase_mode=augment.erase_mode,
        )
        splits = {"val": sets.validation, "test": sets.test if recipe.data.test_each_epoch else None}
        self.evaluated_each_epoch = [name for name, images in splits.items() if images is not None and _size(images)]

    def steps_per_epoch(self) -> int:
        """Batches that one process draws in an epoch. Raises ValueError where its share of the images gives none."""
        trainer: Any = self.trainer
        share = math.ceil(_size(self.sets.train) / trainer.world_size)
        batches = share // self.recipe.batch_size
        if not batches:
            raise ValueError(
                f"{self.sets.name} has {share} training images for each of {trainer.world_size} processes, fewer than "
                f"batch_size {self.recipe.batch_size}: lower it"
            )
        limit = trainer.limit_train_batches
        return min(batches, limit) if isinstance(limit, int) else int(batches * limit)

    def train_dataloader(self) -> StatefulDataLoader:
        recipe = self.recipe
        trainer: Any = self.trainer
        images = Augmented(self.sets.train, self.transform, recipe.seed)
        sampler = EpochSampler(images, num_replicas=trainer.world_size, rank=trainer.global_rank, seed=recipe.seed)
        # Lightning says which epoch it is only after the first batches of a resumed run are drawn.
        sampler.set_epoch(trainer.fit_loop.epoch_progress.current.processed)
        # Stateful, so that a checkpoint from the middle of an epoch goes on with the next batch.
        return StatefulDataLoader(
            images,
            recipe.batch_size,
            sampler=sampler,
            drop_last=True,
            num_workers=recipe.data.workers,
            persistent_workers=recipe.data.workers > 0,
            worker_init_fn=_leave_interrupts_to_the_main_process,
            pin_memory=trainer.strategy.root_device.type == "cuda",
        )

    def val_dataloader(self) -> list[DataLoader]:
        splits = {"val": self.sets.validation, "test": self.sets.test}
        trainer: Any = self.trainer
        shares = (Share(splits[name], trainer.global_rank, trainer.world_size) for name in self.evaluated_each_epoch)
        return [self.eval_loader(share) for share in shares]

    def on_exception(self, exception: BaseException) -> None:
        # Ends the loading processes now: the garbage collector would wait five seconds for each, some time later.
        iterator: Any = getattr(getattr(self.trainer, "train_dataloader", None), "_iterator", None)
        if hasattr(iterator, "_shutdown_workers"):
            iterator._shutdown_workers()

    def eval_loader(self, images: Dataset) -> DataLoader:
        """Every image once, in order."""
        return eval_loader(images, self.preprocess, self.recipe.batch_size, self.recipe.data.workers)


def load_sets(recipe: Recipe) -> ImageSets:
    """The image sets a recipe names."""
    data = recipe.data
    return load_images(
        data.name, root=data.root, validation=data.validation, seed=recipe.seed, skip_broken=data.skip_broken
    )


def eval_loader(images: Dataset, preprocess: dict[str, Any], batch_size: int, workers: int) -> DataLoader:
    """Every image of a split once, in order, as `eval_transform(**preprocess)` gives it."""
    seen = Augmented(images, eval_transform(**preprocess), seed=0)
    return DataLoader(seen, batch_size, num_workers=workers, worker_init_fn=_leave_interrupts_to_the_main_process)


@contextmanager
def errors_of_workers() -> Iterator[None]:
    """Raises what a loading process raised as its own ValueError, without the traceback that torch writes into it."""
    try:
        yield
    except ValueError as error:
        if told := re.match(r"Caught ValueError in DataLoader worker.*^ValueError: (.*)", str(error), re.DOTALL | re.M):
            raise ValueError(told[1]) from error
        raise


def _leave_interrupts_to_the_main_process(worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends Ctrl-C to all, and the step still wants its batch


def _size(images: Dataset) -> int:
    return len(images)  # pyright: ignore[reportArgumentType]
