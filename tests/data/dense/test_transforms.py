"""Boxes and masks move with their image, whatever is drawn at random."""

import random

import numpy as np
import pytest
import torch
from PIL import Image

from spikeformers.data.dense.boxes import Boxes
from spikeformers.data.dense.drawing import with_boxes
from spikeformers.data.dense.outputs import on_original
from spikeformers.data.dense.transforms import AugmentingPairTransform, PairTransform, fitted, planes_of_original

PLAIN = dict(mean=[0.0] * 3, std=[1.0] * 3, interpolation="nearest")


def scene(size=(40, 60), box=(10, 8, 34, 24)):
    """White inside the box, black outside."""
    left, top, right, bottom = box
    mask = np.zeros(size, np.uint8)
    mask[top:bottom, left:right] = 1
    outline = [[left, top, right, top, right, bottom, left, bottom]]
    corners = np.array([box], np.float32)
    boxes = Boxes(size, corners, np.array([2]), np.zeros(1, bool), (outline,))
    return Image.fromarray(np.repeat(255 * mask[..., None], 3, -1)), boxes, mask


def bounds(white):
    rows, columns = torch.where(white)
    return torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).float()


@pytest.mark.parametrize("image_size", [(40, 60), (48, 48), (24, 80)])
def test_boxes_outlines_and_masks_follow_every_random_change(image_size):
    image, boxes, mask = scene()
    how = dict(hflip=0.5, vflip=0.5, color_jitter=0.3, scale_jitter=(0.5, 2.0))
    boxed = AugmentingPairTransform(image_size=image_size, masks=True, **PLAIN, **how)
    masked = AugmentingPairTransform(image_size=image_size, **PLAIN, **how)
    seen, lost = set(), 0
    for seed in range(40):
        torch.manual_seed(seed)
        x, target = boxed(image, boxes)
        assert x.shape == (3, *image_size) and x.dtype == torch.float32
        white = x[0] > 0.3
        if not len(target["boxes"]):
            lost += 1
            continue
        assert (bounds(white) - target["boxes"][0]).abs().max() <= 1.01
        assert (target["masks"][0].bool() ^ white).float().mean() < 0.02
        assert target["labels"].tolist() == [2] and target.keys() == {"boxes", "labels", "masks"}
        seen.add(tuple(target["boxes"][0].round().tolist()))
        torch.manual_seed(seed)
        pixels, classes = masked(image, mask)
        assert classes.dtype == torch.int64 and set(classes.unique().tolist()) <= {0, 1, 255}
        assert ((classes == 1) == (pixels[0] > 0.3)).float().mean() > 0.98
    assert len(seen) > 20 and lost < 10


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
@pytest.mark.parametrize("factor", [3, 8])
def test_masks_stay_where_their_image_is_when_both_shrink(interpolation, factor):
    rows, columns = np.mgrid[:480, :480]
    disc = ((rows - 230.5) ** 2 + (columns - 260.5) ** 2 < 120**2).astype(np.uint8)
    side, plain = 480 // factor, {**PLAIN, "interpolation": interpolation}
    for how in ({"image_size": (side, side)}, {"image_size": (480, 480), "scale_jitter": (1 / factor, 1 / factor)}):
        x, classes = AugmentingPairTransform(**plain, **how)(
            Image.fromarray(np.repeat(255 * disc[..., None], 3, -1)), disc
        )
        centres = [torch.stack(torch.where(of)).double().mean(1) for of in (x[0] > 0.5, classes == 1)]
        assert (classes == 1).sum() > 100 and (centres[0] - centres[1]).abs().max() < 0.6 / factor  # of a pixel


@pytest.mark.parametrize("size", [(2, 1000), (1000, 3)])
def test_an_image_that_is_long_and_thin_can_be_made_smaller(size):
    how = {"image_size": (96, 96), "scale_jitter": (0.5, 0.6)}
    x, classes = AugmentingPairTransform(**PLAIN, **how)(Image.new("RGB", size), np.zeros(size[::-1], np.uint8))
    assert x.shape == (3, 96, 96) and classes.shape == (96, 96) and (classes == 0).any()


@pytest.mark.parametrize("size", [(40, 60), (60, 40), (50, 50)])
@pytest.mark.parametrize("image_size", [(40, 60), (60, 40), (24, 80), (48, 48)])
@pytest.mark.parametrize("factor", [0.5, 0.8])
def test_the_scale_is_a_factor_on_the_size_that_fits(size, image_size, factor):
    image, boxes, _ = scene(size, (0, 0, size[1], size[0]))
    train = AugmentingPairTransform(image_size=image_size, scale_jitter=(factor, factor + 1e-6), **PLAIN)
    _, target = train(image, boxes)
    left, top, right, bottom = target["boxes"][0].tolist()
    height, width = fitted(size, image_size)
    assert bottom - top == pytest.approx(factor * height, abs=1.5)
    assert right - left == pytest.approx(factor * width, abs=1.5)


def test_what_is_filled_up_is_the_mean_void_or_nothing():
    image, boxes, mask = scene()
    how = dict(image_size=(80, 80), mean=[0.4] * 3, std=[0.5] * 3)
    x, target = PairTransform(**how, masks=True)(image, boxes)
    assert fitted((40, 60), (80, 80)) == (53, 80)
    assert (x[:, 53:] == 0).all() and (target["masks"][:, 53:] == 0).all()
    _, classes = PairTransform(**how)(image, mask)
    assert (classes[53:] == 255).all() and set(classes[:53].unique().tolist()) == {0, 1}


@pytest.mark.parametrize("image_size", [(40, 60), (64, 64), (30, 96)])
def test_answers_go_back_to_where_they_came_from(image_size):
    image, boxes, mask = scene()
    _, target = PairTransform(image_size=image_size, masks=True, **PLAIN)(image, boxes)
    scored = {**target, "scores": torch.tensor([0.7])}
    found = on_original(scored, (40, 60), image_size, 0.5)
    assert torch.allclose(found["boxes"], torch.from_numpy(boxes.corners), atol=1e-3)
    assert (found["masks"][0].numpy() ^ mask.astype(bool)).mean() < 0.03
    assert len(on_original(scored, (40, 60), image_size, 0.8)["boxes"]) == 0
    _, classes = PairTransform(image_size=image_size, **PLAIN)(image, mask)
    logits = torch.nn.functional.one_hot(classes.clamp(max=2), 3).permute(2, 0, 1).float()
    assert (on_original(logits, (40, 60), image_size).numpy() == mask).mean() > 0.97


def test_the_class_of_each_pixel_is_found_a_few_planes_at_a_time():
    """All planes at the size of a photograph would be gigabytes."""
    planes = torch.randn(21, 32, 48).round()  # with ties, of which the first class wins
    wanted = planes_of_original(planes, (64, 80), (32, 48)).argmax(0)
    assert torch.equal(on_original(planes, (64, 80), (32, 48)), wanted) and len(wanted.unique()) > 8
    everywhere = {
        "boxes": torch.tensor([[0.0, 0.0, 8.0, 8.0]] * 9),
        "scores": torch.rand(9),
        "masks": torch.rand(9, 32, 48),
    }
    wanted = planes_of_original(everywhere["masks"], (64, 80), (32, 48)) > 0.5
    assert torch.equal(on_original(everywhere, (64, 80), (32, 48))["masks"], wanted)
    torchvisions = {**everywhere, "masks": everywhere["masks"][:, None]}
    assert torch.equal(on_original(torchvisions, (64, 80), (32, 48))["masks"], wanted)


def test_a_box_in_what_fills_up_the_input_is_nowhere_on_the_image():
    boxes = torch.tensor([[0.0, 60.0, 20.0, 78.0], [4.0, 8.0, 12.0, 60.0]])  # 40 x 60 pixels in 80 x 80 fill 53 rows
    found = {"boxes": boxes, "labels": torch.tensor([1, 0]), "scores": torch.tensor([0.9, 0.8])}
    found["masks"] = torch.ones(2, 80, 80)
    moved = on_original(found, (40, 60), (80, 80))
    assert moved["labels"].tolist() == [0] and moved["masks"].shape == (1, 40, 60)
    assert moved["boxes"].tolist() == [pytest.approx([3, 6.04, 9, 40], abs=0.01)]


@pytest.mark.parametrize("size", [(1, 4000), (4000, 1), (1, 1)])
def test_pictures_of_images_that_are_long_and_thin_stay_small(size):
    found = {"boxes": torch.tensor([[0.0, 0.0, 1.0, 1.0]]), "labels": torch.tensor([0]), "scores": torch.ones(1)}
    assert max(with_boxes(Image.new("RGB", size), found, ["red"]).size) <= max(480, *size)


def test_frames_get_the_sum_of_their_polarities():
    frames = torch.rand(3, 2, 40, 60)
    _, boxes, _ = scene()
    x, target = PairTransform(image_size=(40, 60), channels=3)(frames, boxes)
    assert torch.equal(x[:, :2], frames) and torch.allclose(x[:, 2], frames.sum(1))
    assert torch.equal(target["boxes"], torch.from_numpy(boxes.corners))


def test_a_model_with_masks_needs_outlines():
    image, boxes, _ = scene()
    bare = Boxes(boxes.size, boxes.corners, boxes.labels, boxes.crowd)
    with pytest.raises(ValueError, match="boxes without outlines"):
        PairTransform(image_size=(40, 60), masks=True, **PLAIN)(image, bare)


def test_run_lengths_and_polygons_are_the_same_inside():
    _, boxes, mask = scene()
    flat = mask.T.ravel()
    changes = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *changes, len(flat)]).tolist()
    runs = Boxes(boxes.size, boxes.corners, boxes.labels, boxes.crowd, ({"size": [40, 60], "counts": counts},))
    assert np.array_equal(runs.masks(), boxes.masks()) and np.array_equal(runs.masks()[0], mask)


def test_rand_augment_changes_colours_and_moves_nothing():
    pixels = np.full((40, 60, 3), (40, 90, 160), np.uint8)
    pixels[8:24, 10:34] = (200, 120, 70)
    image, mask = Image.fromarray(pixels), (pixels[..., 0] > 100).astype(np.uint8)
    transform = AugmentingPairTransform(image_size=(40, 60), rand_augment="rand-m9-n3-p1", **PLAIN)
    inside = np.s_[:, 12:20, 14:30]  # but for the edges, which changes of sharpness blur
    seen = set()
    for seed in range(40):
        random.seed(seed)
        np.random.seed(seed)
        x, classes = transform(image, mask)
        assert (classes.numpy() == mask).all()
        outside = x.clone()
        outside[:, 4:28, 6:38] = x[:, :1, :1]
        assert (x[inside].amax((1, 2)) == x[inside].amin((1, 2))).all()
        assert (outside.amax((1, 2)) == outside.amin((1, 2))).all()
        seen.add((*x[:, 15, 20].tolist(), *x[:, 0, 0].tolist()))
    assert len(seen) > 20


def test_operations_that_move_pixels_are_refused():
    how = dict(image_size=(40, 60), rand_augment="rand-m9-n1", **PLAIN)
    with pytest.raises(ValueError, match=r"rand_augment_ops: ShearX moves pixels.*use AutoContrast"):
        AugmentingPairTransform(rand_augment_ops=["Equalize", "ShearX"], **how)
    with pytest.raises(ValueError, match="did you mean Equalize"):
        AugmentingPairTransform(rand_augment_ops=["Equalise"], **how)
    only = AugmentingPairTransform(rand_augment_ops=["Equalize"], **how)
    assert [op.name for op in only.colors[0].ops] == ["Equalize"]
