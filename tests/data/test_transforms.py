"""From PIL images to tensors."""

import inspect
import math
import random

import numpy as np
import pytest
import torch
import yaml
from PIL import Image, ImageOps
from timm.data import create_transform
from timm.data.auto_augment import AugmentOp
from torchvision import transforms

from spikeformers.data import eval_transform, train_transform
from spikeformers.data.rand_augment import _posterize
from spikeformers.training.recipe_file import find_recipe, list_recipes

RGB = {"mean": (0.4914, 0.4822, 0.4465), "std": (0.2470, 0.2435, 0.2616)}
GREY = {"mean": (0.2860,), "std": (0.3530,)}
TRAIN_ARGUMENTS = {*inspect.signature(train_transform).parameters}
SPIKFORMER = {  # the published CIFAR recipe
    "rand_augment": "rand-m9-n1-mstd0.4-inc1",
    "rand_augment_ops": ("Equalize", "Rotate", "ShearX", "TranslateXRel", "TranslateYRel"),
    "erase": 0.25,
}


def picture(mode="RGB", width=32, height=32):
    shape = (height, width, 3) if mode == "RGB" else (height, width)
    return Image.fromarray(np.random.RandomState(0).randint(0, 256, shape, dtype=np.uint8))


def seeded(transform, image, seed):
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    return transform(image)


@pytest.fixture
def drawn_ops(monkeypatch):
    """The names of the RandAugment ops that ran, as they run."""
    names = []
    original = AugmentOp.__call__

    def spy(op, image):
        names.append(op.name)
        return original(op, image)

    monkeypatch.setattr(AugmentOp, "__call__", spy)
    return names


@pytest.mark.parametrize(("mode", "numbers"), [("RGB", RGB), ("L", GREY)])
def test_shape_type_and_normalisation(mode, numbers):
    image = picture(mode)
    for transform in (
        train_transform(image_size=32, **numbers, **SPIKFORMER),
        eval_transform(image_size=32, **numbers),
    ):
        x = transform(image)
        assert x.shape == (len(numbers["mean"]), 32, 32)
        assert x.dtype == torch.float32
    pixels = torch.from_numpy(np.array(image)).reshape(32, 32, -1).permute(2, 0, 1) / 255
    mean, std = (torch.tensor(numbers[key]).view(-1, 1, 1) for key in ("mean", "std"))
    torch.testing.assert_close(eval_transform(image_size=32, **numbers)(image), (pixels - mean) / std)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize(("mode", "numbers"), [("RGB", RGB), ("L", GREY)])
@pytest.mark.parametrize("side", [8, 32, 50])
def test_training_without_randomness_is_evaluation(mode, numbers, interpolation, side):
    numbers = {"image_size": 32, "interpolation": interpolation, **numbers}
    image = picture(mode, side, side)
    train = train_transform(hflip=0, **numbers)
    expected = eval_transform(**numbers)(image)
    assert all(torch.equal(train(image), expected) for _ in range(20))


def test_spikformer_recipe_equals_timms_pipeline_with_its_ops_removed():
    ours = train_transform(image_size=32, **RGB, **SPIKFORMER)
    timms = create_transform(
        32,
        is_training=True,
        scale=(1, 1),
        ratio=(1, 1),
        hflip=0.5,
        auto_augment=SPIKFORMER["rand_augment"],
        interpolation="bicubic",
        re_prob=0.25,
        **RGB,
    )
    augment = next(step for step in timms.transforms if hasattr(step, "ops"))
    augment.ops = [op for op in augment.ops if op.name in SPIKFORMER["rand_augment_ops"]]
    image = picture(width=40)
    for seed in range(50):
        assert torch.equal(seeded(ours, image, seed), seeded(timms, image, seed))


def test_eval_equals_timms_pipeline():
    ours = eval_transform(image_size=20, crop_pct=0.875, **RGB)
    timms = create_transform(20, crop_pct=0.875, interpolation="bicubic", **RGB)
    image = picture(width=50, height=35)
    assert torch.equal(ours(image), timms(image))


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize(("mode", "numbers"), [("RGB", RGB), ("L", GREY)])
@pytest.mark.parametrize(("width", "height"), [(50, 35), (35, 51), (32, 32), (33, 90), (7, 5), (1, 9), (224, 100)])
def test_eval_is_torchvisions_to_the_last_bit(mode, numbers, interpolation, width, height):
    for size, crop_pct in ((32, 1.0), (31, 0.875), (24, 0.96)):
        shorter_side = math.floor(size / crop_pct)
        torchvisions = transforms.Compose(
            [
                transforms.Resize(shorter_side, transforms.InterpolationMode(interpolation)),
                transforms.CenterCrop(size),
                transforms.ToTensor(),
                transforms.Normalize(**numbers),
            ]
        )
        ours = eval_transform(image_size=size, crop_pct=crop_pct, interpolation=interpolation, **numbers)
        image = picture(mode, width, height)
        assert torch.equal(ours(image), torchvisions(image))


@pytest.mark.parametrize(("mode", "numbers"), [("RGB", RGB), ("L", GREY)])
def test_only_the_listed_ops_are_drawn(mode, numbers, drawn_ops):
    transform = train_transform(image_size=32, **numbers, **SPIKFORMER)
    for _ in range(200):
        transform(picture(mode))
    assert set(drawn_ops) == set(SPIKFORMER["rand_augment_ops"])
    assert len(drawn_ops) == 200  # n1: one per image


def random_augmentations():
    """The settings of RandAugment in the recipes that come along, each once."""
    recipes = [yaml.safe_load(find_recipe(name).read_text()) for name in list_recipes()]
    return sorted({recipe["augment"].get("rand_augment") for recipe in recipes if "augment" in recipe} - {None})


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("config", [*random_augmentations(), "rand-m9-n2"])
def test_every_operation_works_at_every_strength_that_may_be_drawn(config, mode):
    """Whatever releases of Pillow and timm are there: in training a rare draw would end a run after hours."""
    numbers = RGB if mode == "RGB" else GREY
    transform = train_transform(image_size=16, rand_augment=config, **numbers)
    ops = next(step for step in transform.transforms if hasattr(step, "ops")).ops
    assert len(ops) == 15
    for op in ops:
        op.op.prob, op.op.magnitude_std = 1.0, 0
        for strength in np.linspace(0, 10, 41):
            op.op.magnitude = strength
            made = op(picture(mode, 16, 16))
            assert (made.mode, made.size) == (mode, (16, 16)), op.name


def whole_augmentations():
    """Each different `augment:` of the recipes that come along, with the recipe that it was found in."""
    found = {}
    for name in list_recipes():
        augment = yaml.safe_load(find_recipe(name).read_text()).get("augment", {})
        arguments = {key: value for key, value in augment.items() if key in TRAIN_ARGUMENTS}
        found.setdefault(str(sorted(arguments.items())), (name, arguments))
    return [pytest.param(arguments, id=name) for name, arguments in found.values()]


@pytest.mark.slow
@pytest.mark.parametrize("augment", whole_augmentations())
def test_a_recipes_whole_augmentation_over_20_000_images(augment):
    transform = train_transform(image_size=16, **RGB, **augment)
    for seed in range(20_000):
        x = seeded(transform, picture("RGB", 20, 18), seed)
        assert x.shape == (3, 16, 16) and x.isfinite().all(), seed


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_no_bits_make_black_as_they_did_for_the_papers(mode):
    transform = train_transform(
        image_size=16,
        rand_augment="rand-m10-n1-p1-inc1",
        rand_augment_ops=["PosterizeIncreasing"],
        mean=[0] * len(mode),
        std=[1] * len(mode),
    )
    assert seeded(transform, picture(mode), 0).abs().max() == 0


def test_posterize_is_pillows_wherever_pillow_takes_it():
    for bits in range(1, 9):
        assert list(_posterize(picture(), bits).getdata()) == list(ImageOps.posterize(picture(), bits).getdata())


@pytest.mark.parametrize("make", [train_transform, eval_transform])
def test_an_image_of_another_mode_is_refused(make):
    for mode, numbers in (("I;16", RGB), ("L", RGB), ("RGBA", RGB), ("RGB", GREY), ("I;16", GREY)):
        with pytest.raises(ValueError, match=rf"an image has mode {mode} instead of (RGB|L): convert it first"):
            make(image_size=16, **numbers)(Image.new(mode, (16, 16)))


def test_every_op_works_on_grey_images(drawn_ops):
    transform = train_transform(image_size=16, rand_augment="rand-m9-n2-mstd0.5-inc1", **GREY)
    for _ in range(300):
        assert transform(picture("L")).shape == (1, 16, 16)
    assert len(set(drawn_ops)) == 15


def test_imagenet_crop_takes_the_whole_picture_or_its_middle():
    transform = train_transform(image_size=32, hflip=0, crop_ratio=(3 / 4, 4 / 3), **RGB)
    wide = picture(width=59, height=53)  # within 3:4 to 4:3: squashed
    squashed = wide.resize((32, 32), Image.Resampling.BICUBIC)
    assert torch.equal(transform(wide), eval_transform(image_size=32, **RGB)(squashed))
    wider = picture(width=90, height=30)  # outside: the middle 40 of 90
    middle = wider.crop((25, 0, 65, 30)).resize((32, 32), Image.Resampling.BICUBIC)
    assert torch.equal(transform(wider), eval_transform(image_size=32, **RGB)(middle))


def test_padded_crop_moves_the_image_and_nothing_else():
    image = picture()
    plain = eval_transform(image_size=32, mean=(0,) * 3, std=(1,) * 3)(image)
    move = train_transform(image_size=32, hflip=0, crop_padding=4, mean=(0,) * 3, std=(1,) * 3)
    framed = torch.nn.functional.pad(plain, (4, 4, 4, 4))
    windows = [framed[:, y : y + 32, x : x + 32] for y in range(9) for x in range(9)]
    places = {[torch.equal(window, moved) for window in windows].index(True) for moved in map(move, [image] * 60)}
    assert len(places) > 20


def test_flip_and_erase_happen_as_often_as_asked():
    image = picture()
    plain = eval_transform(image_size=32, **RGB)(image)
    always = train_transform(image_size=32, hflip=1.0, **RGB)
    assert torch.equal(always(image), plain.flip(-1))
    erase = train_transform(image_size=32, hflip=0, erase=1.0, **RGB)
    erased = erase(image)
    assert 0 < (erased != plain).any(0).float().mean() < 0.5
    assert (erased[erased != plain] == 0).all()
    noisy = train_transform(image_size=32, hflip=0, erase=1.0, erase_mode="pixel", **RGB)(image)
    assert (noisy[noisy != plain] != 0).all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"interpolation": "bicubicc"}, "interpolation 'bicubicc' is not known; did you mean bicubic"),
        ({"erase_mode": "colour"}, "erase_mode 'colour' is not known; known are const, rand, pixel"),
        ({"hflip": 1.5}, "hflip 1.5 is not a probability; use 0 <= hflip <= 1"),
        ({"erase": 25}, "erase 25 is not a probability"),
        ({"crop_scale": (0, 1)}, r"crop_scale \(0, 1\) is not a range; use 0 < low <= high"),
        ({"crop_ratio": (1.3, 0.7)}, r"crop_ratio \(1.3, 0.7\) is not a range"),
        ({"crop_padding": 32}, r"crop_padding 32 is not in 0\.\.31: a window of 32 pixels could miss the image"),
        ({"rand_augment": "m9-n1"}, "rand_augment 'm9-n1' is not of the form 'rand-m9-n2"),
        ({"rand_augment": "rand-m9-mst0.5"}, "is not of the form"),
        ({"rand_augment": "rand-p2"}, "is not of the form"),
        ({"rand_augment": "rand-m"}, "is not of the form"),  # timm would pass over it
        ({"rand_augment": ""}, "is not of the form"),
        ({"rand_augment_ops": ("Rotate",)}, "rand_augment_ops needs rand_augment; add one such as 'rand-m9-n1'"),
        (
            {"rand_augment": "rand-m9-inc1", "rand_augment_ops": ("Rotate", "TranslateX")},
            "rand_augment_ops of 'rand-m9-inc1': 'TranslateX' is not known; did you mean TranslateXRel",
        ),
    ],
)
def test_wrong_arguments(wrong, message):
    with pytest.raises(ValueError, match=message) as caught:
        train_transform(image_size=32, **RGB, **wrong)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("crop_pct", [0, 1.1, 87.5])
def test_wrong_crop_pct(crop_pct):
    with pytest.raises(ValueError, match=r"crop_pct .* is not a share of the side; use 0 < crop_pct <= 1"):
        eval_transform(image_size=32, crop_pct=crop_pct, **RGB)


def test_wrong_interpolation_in_evaluation():
    with pytest.raises(ValueError, match="interpolation 'linear' is not known; did you mean bilinear"):
        eval_transform(image_size=32, interpolation="linear", **RGB)
