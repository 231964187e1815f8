"""The built-in digits."""

import numpy as np
import pytest

from spikeformers.data import digits, load_images


def test_every_digit_is_in_exactly_one_part():
    train, test = digits.load_digits()
    assert len(train) + len(test) == 1797
    everything = np.concatenate([train.images, test.images]).reshape(1797, -1)
    assert len(np.unique(everything, axis=0)) == 1797  # no two digits are alike, so none is in both parts


def test_the_test_part_is_a_fifth_of_every_class():
    train, test = digits.load_digits()
    counts, tested = np.bincount(train.targets) + np.bincount(test.targets), np.bincount(test.targets)
    assert tested.tolist() == np.round(0.2 * counts).astype(int).tolist()


def test_the_test_part_never_changes():
    # Written down from the first run: a change would make every published digits figure incomparable.
    _, test = digits.load_digits()
    position = np.arange(1, len(test) + 1)
    assert (len(test), int((position * test.targets).sum())) == (359, 293451)
    assert int((position[:, None, None] * test.images.astype(np.int64)).sum()) == 319008269


def test_the_test_part_does_not_depend_on_the_seed():
    first, second = load_images("digits", seed=1), load_images("digits", seed=2)
    assert first.test.targets == second.test.targets
    assert np.array_equal(first.test.images, second.test.images)


def test_mean_and_std_are_those_of_the_training_pixels():
    train, _ = digits.load_digits()
    pixels = train.images / 255
    assert pixels.mean() == pytest.approx(digits.MEAN[0], abs=5e-5)
    assert pixels.std() == pytest.approx(digits.STD[0], abs=5e-5)


def test_images_are_grey_and_use_the_whole_range():
    image, label = digits.load_digits()[0][0]
    assert (image.mode, image.size, type(label)) == ("L", (8, 8), int)
    assert image.getextrema() == (0, 239)  # 15 of scikit-learn's 16
    assert digits.load_digits()[0].images.max() == 255


def test_set_description():
    sets = load_images("digits")
    assert sets.classes == tuple("0123456789")
    assert (sets.name, sets.channels, sets.image_size, sets.interpolation) == ("digits", 1, 16, "bilinear")
    assert (sets.mean, sets.std, sets.skipped) == (digits.MEAN, digits.STD, ())
