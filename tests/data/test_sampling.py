"""Randomness is a function of seed, epoch and sample."""

import random

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import auto_augment
from torch.utils.data import DataLoader, Subset
from torch.utils.data.distributed import DistributedSampler

from spikeformers.data import Augmented, EpochSampler, load_images, train_transform
from spikeformers.data.folders import FolderImages
from spikeformers.data.loading import unwrap_worker_errors
from spikeformers.data.readable import Readable


class Draws:
    """A transform that ignores the image and returns what each global generator gives: [1, 1, 3]."""

    def __call__(self, image):
        return torch.tensor([[[random.random(), np.random.rand(), torch.rand(()).item()]]])


class Fails:
    def __call__(self, image):
        random.random()
        np.random.rand()
        torch.rand(())
        raise RuntimeError("transform failed")


IMAGES = [(Image.new("L", (8, 8), i), i) for i in range(20)]


def global_states():
    name, keys, *rest = np.random.get_state()
    return random.getstate(), (name, keys.tolist(), *rest), torch.get_rng_state().tolist()


# ---- EpochSampler


def test_an_epoch_holds_every_index_once_with_its_number():
    sampler = EpochSampler(IMAGES, seed=0)
    sampler.set_epoch(3)
    epochs, indices = zip(*sampler, strict=True)
    assert set(epochs) == {3}
    assert sorted(indices) == list(range(20))
    assert list(indices) != sorted(indices)
    assert len(sampler) == 20


def test_order_depends_on_seed_and_epoch_alone():
    def order(seed, epoch):
        sampler = EpochSampler(IMAGES, seed=seed)
        sampler.set_epoch(epoch)
        return [index for _, index in sampler]

    torch.manual_seed(1)
    first = order(0, 1)
    torch.manual_seed(2)
    assert order(0, 1) == first
    assert order(0, 2) != first
    assert order(1, 0) != first  # DistributedSampler's own seed + epoch would make them one


def test_without_shuffling_the_order_is_the_sets():
    assert list(EpochSampler(IMAGES, shuffle=False)) == [(0, i) for i in range(20)]


def test_the_epoch_is_that_of_the_start():
    sampler = EpochSampler(IMAGES)
    iterator = iter(sampler)
    sampler.set_epoch(1)  # a loader that prefetches may still be handing out the old epoch
    assert {epoch for epoch, _ in iterator} == {0}


def test_ranks_share_an_epoch():
    ranks = [EpochSampler(IMAGES, num_replicas=2, rank=rank, seed=4) for rank in (0, 1)]
    assert all(isinstance(sampler, DistributedSampler) for sampler in ranks)
    assert sorted(index for sampler in ranks for _, index in sampler) == list(range(20))


# ---- Augmented


def test_item_is_tensor_and_label():
    x, label = Augmented(IMAGES, Draws(), seed=0)[(0, 7)]
    assert (x.shape, label, len(Augmented(IMAGES, Draws(), seed=0))) == ((1, 1, 3), 7, 20)


def test_same_sample_whatever_the_global_states():
    data = Augmented(IMAGES, Draws(), seed=0)
    first = data[(2, 5)][0]
    random.seed(99)
    np.random.seed(99)
    torch.manual_seed(99)
    data[(2, 6)]
    assert torch.equal(data[(2, 5)][0], first)


@pytest.mark.parametrize("other", [(1, 2, 5), (0, 3, 5), (0, 2, 6), (2, 0, 5), (0, 5, 2)])
def test_seed_epoch_and_index_each_matter_to_every_generator(other):
    seed, *item = other
    first, second = Augmented(IMAGES, Draws(), seed=0)[(2, 5)][0], Augmented(IMAGES, Draws(), seed=seed)[tuple(item)][0]
    assert (first != second).all()


def test_plain_index_is_epoch_zero():
    data = Augmented(IMAGES, Draws(), seed=0)
    assert torch.equal(data[5][0], data[(0, 5)][0])
    assert not torch.equal(data[5][0], data[(1, 5)][0])


def test_a_batch_is_its_items_and_leaves_the_generators_alone():
    data, wanted = Augmented(IMAGES, Draws(), seed=0), [(2, 5), (2, 3, 1), 7, (0, 7)]
    batch, again = data.__getitems__(wanted), torch.get_rng_state()
    for (x, label), item in zip(batch, wanted, strict=True):
        assert torch.equal(x, data[item][0])
        assert label == data[item][1]
    assert torch.equal(again, torch.get_rng_state())
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    data.__getitems__(wanted)
    assert before == (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())


def test_draws_are_uniform_over_samples_and_epochs():
    data = Augmented(IMAGES, Draws(), seed=0)
    draws = torch.stack([data[(epoch, i)][0].flatten() for epoch in range(50) for i in range(20)])
    assert (draws.mean(0) - 0.5).abs().max() < 0.04  # 4 sigma of the mean of 1,000
    assert draws.T.corrcoef().triu(1).abs().max() < 0.13  # the three generators do not follow one another
    lag = torch.stack([draws[:-1].flatten(), draws[1:].flatten()]).corrcoef()[0, 1]
    assert abs(lag) < 0.08  # nor do neighbouring samples


def test_global_states_are_left_alone():
    random.seed(1)
    np.random.seed(1)
    np.random.randn()  # NumPy makes normals in pairs: the one it holds back is part of its state
    before = global_states()
    data = Augmented(IMAGES, Draws(), seed=0)
    data[(1, 3)]
    assert global_states() == before
    with pytest.raises(ValueError, match="transform failed"):
        Augmented(IMAGES, Fails(), seed=0)[(1, 3)]
    assert global_states() == before


@pytest.fixture
def failing_invert(monkeypatch):
    def invert(image, **_):
        if image.getpixel((0, 0)) == (100, 0, 0):
            raise TypeError("what it is given\nis no longer taken")
        return image

    monkeypatch.setitem(auto_augment.NAME_TO_OP, "Invert", invert)


@pytest.fixture
def pictures(tmp_path, failing_invert):
    """Five files, and their transform, of which an operation fails on the third."""
    for i in range(5):
        Image.new("RGB", (8, 8), (50 * i, 0, 0)).save(tmp_path / f"{i}.png")
    files = FolderImages([(str(tmp_path / f"{i}.png"), i) for i in range(5)])
    steps = train_transform(
        image_size=8, mean=[0.5] * 3, std=[0.5] * 3, hflip=0, rand_augment="rand-m9-n1-p1", rand_augment_ops=["Invert"]
    )
    return files, steps


@pytest.mark.parametrize("wrapped", [lambda files: files, lambda files: Subset(files, [0, 2])], ids=["set", "subset"])
def test_an_operation_that_fails_is_named_with_its_image(pictures, wrapped):
    files, steps = pictures
    index = 2 if wrapped(files) is files else 1
    for workers in (0, 1):
        loader = DataLoader(Augmented(wrapped(files), steps), None, sampler=[(3, index)], num_workers=workers)
        with pytest.raises(ValueError) as told, unwrap_worker_errors():
            next(iter(loader))
        assert str(told.value).startswith(
            f"{files.paths[2]} cannot be prepared in epoch 4 (Invert failed: what it is given is no longer taken); "
        )  # users count epochs from 1
        assert "\n" not in str(told.value)
    with pytest.raises(ValueError, match=r"png cannot be prepared \(Invert failed"):  # evaluation has no epochs
        Augmented(wrapped(files), steps)[index]


def test_the_next_stands_in_where_an_operation_fails_and_it_is_counted(pictures, caplog):
    files, steps = pictures
    data = Augmented(Readable(files), steps)
    assert [data[(1, i)][1] for i in range(5)] == [0, 1, 3, 3, 4]
    assert torch.equal(data[(1, 2)][0], data[(1, 3)][0])
    assert data.dataset.broken == 1
    (line,) = caplog.messages
    assert line.startswith(f"skipped, number 1 of 5: {files.paths[2]} cannot be prepared in epoch 2 (Invert failed")


def test_loading_does_not_depend_on_the_number_of_workers():
    sets = load_images("digits")
    ops = ("Rotate", "ShearX")
    transform = train_transform(
        image_size=16, mean=sets.mean, std=sets.std, rand_augment="rand-m9-n1-inc1", rand_augment_ops=ops, erase=0.5
    )
    data = Augmented(torch.utils.data.Subset(sets.train, range(40)), transform, seed=3)
    sampler = EpochSampler(data, seed=3)

    def batches(workers, epoch):
        sampler.set_epoch(epoch)
        return [
            torch.cat([x.flatten(1), y[:, None]], 1)
            for x, y in DataLoader(data, 8, sampler=sampler, num_workers=workers)
        ]

    alone, helped = torch.cat(batches(0, 0)), torch.cat(batches(2, 0))
    assert torch.equal(alone, helped)
    assert alone.shape == (40, 257)
    assert not torch.equal(torch.cat(batches(0, 1)), alone)


def test_persistent_workers_follow_the_epoch():
    data = Augmented(IMAGES, Draws(), seed=0)
    sampler = EpochSampler(data, seed=0)
    loader = DataLoader(data, 20, sampler=sampler, num_workers=1, persistent_workers=True)
    epochs = []
    for epoch in (0, 1):
        sampler.set_epoch(epoch)
        ((x, y),) = loader
        epochs.append(x[y.argsort()])
    assert not (epochs[0] == epochs[1]).any()
    assert torch.equal(epochs[1], torch.stack([data[(1, i)][0] for i in range(20)]))
