"""Augmentation of a whole clip, by pixels."""

import random

import pytest
import torch

from spikeformers.data import Augmented
from spikeformers.data.events.transforms import CHANGES, augmenting_clip_transform, clip_transform


@pytest.fixture
def clip():
    """The same picture of counts in all frames and polarities: [3, 2, 16, 16]."""
    return torch.randint(1, 9, (1, 1, 16, 16)).float().expand(3, 2, 16, 16).contiguous()


def drawn(name, strength, clip, seeds=range(30)):
    for seed in seeds:
        random.seed(seed)
        yield CHANGES[name](clip, strength)


STRENGTHS = {
    "identity": 0, "roll": 5, "rotate": 30, "shear_x": 0.3, "shear_y": 0.3, "translate_x": 5, "translate_y": 5,
    "cutout": 0.11, "cutout_side": 1 / 3,
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_all_frames_and_polarities_are_changed_alike(name, clip):
    before = clip.clone()
    seen = list(drawn(name, STRENGTHS[name], clip))
    for x in seen:
        assert x.shape == clip.shape
        assert torch.equal(x, x[:1, :1].expand_as(x))
        assert set(x.unique().tolist()) <= {0.0, *clip.unique().tolist()}  # counts stay counts
    assert torch.equal(clip, before)
    assert len({tuple(x[0, 0].flatten().tolist()) for x in seen}) > (1 if name != "identity" else 0)


def test_time_and_polarity_never_mix():
    clip = torch.zeros(3, 2, 16, 16)
    clip[1, 0] = 7
    for name, strength in STRENGTHS.items():
        for x in drawn(name, strength, clip, range(5)):
            assert x[1, 1].sum() == x[0].sum() == x[2].sum() == 0 and x[1, 0].sum() > 0


def test_roll_goes_round(clip):
    for x in drawn("roll", 3, clip):
        assert any(torch.equal(x, clip.roll((a, b), (-2, -1))) for a in range(-3, 4) for b in range(-3, 4))


def test_translation_leaves_nothing_behind(clip):
    for x in drawn("translate_x", 5, clip):
        shifts = [
            k
            for k in range(-5, 6)
            if torch.equal(x[..., max(k, 0) : 16 + min(k, 0)], clip[..., max(-k, 0) : 16 - max(k, 0)])
        ]
        assert len(shifts) == 1
        (k,) = shifts
        assert x[..., :k].sum() == 0 if k > 0 else k == 0 or x[..., k:].sum() == 0


def test_a_shear_moves_rows_by_their_distance_from_the_middle(clip):
    column = torch.zeros(1, 1, 21, 21)
    column[..., 10] = 1
    random.seed(3)  # any
    for x in drawn("shear_x", 0.3, column):
        places = [x[0, 0, y].nonzero().flatten().tolist() for y in range(21)]
        assert places[10] == [10]
        assert all(len(place) == 1 for place in places)
        assert abs(places[0][0] - 10) <= 4 and places[0][0] - 10 == 10 - places[20][0]  # 10 tan(0.3) = 3.1


def test_cutout_blanks_one_square_of_at_most_its_share(clip):
    areas = []
    for x in drawn("cutout", 0.11, clip, range(200)):
        gone = (x[0, 0] == 0).nonzero()
        areas.append(len(gone))
        if len(gone):
            side = gone.max(0).values - gone.min(0).values + 1
            assert side[0] == side[1] and side.prod() == len(gone)
    assert max(areas) <= 0.11 * 256 + 6 and max(areas) > 16  # a side is rounded


def test_a_side_of_a_third_may_reach_outside(clip):
    areas = {int((x[0, 0] == 0).sum()) for x in drawn("cutout_side", 1 / 3, clip, range(200))}
    assert max(areas) == 25 and min(areas) < 25


def test_strengths_reach_their_largest_and_either_sign():
    marked = torch.zeros(1, 1, 1, 21)
    marked[..., 10] = 1
    places = {int(x.flatten().argmax()) for x in drawn("translate_x", 5, marked, range(300))}
    assert places == set(range(5, 16))


# ---- the transforms


def test_evaluation_leaves_counts_as_they_are(clip):
    assert torch.equal(clip_transform(image_size=16)(clip), clip)
    x = clip_transform(image_size=16, channels=3)(clip)
    assert torch.equal(x[:, :2], clip) and torch.equal(x[:, 2], clip[:, 0] + clip[:, 1])


@pytest.mark.parametrize("size", [8, 6])
@pytest.mark.parametrize("kind", [torch.uint8, torch.uint16])
def test_counts_of_any_type_come_out_as_float32(size, kind):
    counts = torch.randint(0, 9, (3, 2, 8, 8))
    found = clip_transform(image_size=size)(counts.to(kind))
    assert found.dtype == torch.float32
    assert torch.equal(found, clip_transform(image_size=size)(counts.float()))


def test_sizes_that_strides_do_not_divide_are_resized():
    flat = torch.full((2, 2, 34, 30), 3.0)
    for interpolation in ("bilinear", "bicubic", "nearest"):
        x = clip_transform(image_size=32, interpolation=interpolation)(flat)
        assert x.shape == (2, 2, 32, 32) and torch.allclose(x, torch.tensor(3.0))
    halved = clip_transform(image_size=2, interpolation="nearest")(
        torch.arange(16.0).view(1, 1, 4, 4).expand(1, 2, 4, 4)
    )
    assert halved[0, 0].tolist() == [[0, 2], [8, 10]]


def test_a_mirror_image_at_its_probability(clip):
    always, never, half = (augmenting_clip_transform(image_size=16, hflip=p) for p in (1.0, 0.0, 0.5))
    assert torch.equal(always(clip), clip.flip(-1)) and torch.equal(never(clip), clip)
    random.seed(0)
    assert 70 < sum(torch.equal(half(clip), clip.flip(-1)) for _ in range(200)) < 130


def test_one_change_is_drawn_of_those_named(clip):
    transform = augmenting_clip_transform(image_size=16, clip_ops={"identity": 0, "roll": 5, "cutout_side": 0.3})
    kinds = set()
    for seed in range(60):
        random.seed(seed)
        x = transform(clip)
        rolled = sorted(x[0, 0].flatten().tolist()) == sorted(clip[0, 0].flatten().tolist())
        kinds.add("identity" if torch.equal(x, clip) else "roll" if rolled else "cutout")
    assert kinds == {"identity", "roll", "cutout"}


def test_several_different_changes_may_be_drawn(clip, monkeypatch):
    made = []
    for name in ("roll", "cutout"):
        monkeypatch.setitem(CHANGES, name, lambda clip, _, name=name: made.append(name) or clip)
    transform = augmenting_clip_transform(image_size=16, clip_ops={"roll": 5, "cutout": 0.3}, clip_ops_drawn=2)
    orders = set()
    for seed in range(20):
        random.seed(seed)
        made.clear()
        transform(clip)
        orders.add(tuple(made))
    assert orders == {("roll", "cutout"), ("cutout", "roll")}


def test_a_sample_is_a_function_of_seed_epoch_and_index(clip):
    transform = augmenting_clip_transform(image_size=16, hflip=0.5, clip_ops=STRENGTHS)
    clips = Augmented([(clip, 0)] * 4, transform, seed=1)
    assert torch.equal(clips[(2, 3)][0], clips[(2, 3)][0])
    others = [clips[(epoch, i)][0] for epoch in range(4) for i in range(4)]
    assert len({tuple(x[0, 0].flatten().tolist()) for x in others}) > 8


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"clip_ops": {"rol": 5}}, "there is no change 'rol'; did you mean roll"),
        ({"clip_ops": {"roll": -5}}, "clip_ops.roll -5 is below 0"),
        ({"clip_ops": {"roll": 5}, "clip_ops_drawn": 2}, "clip_ops_drawn 2 is not between 1 and the 1 of clip_ops"),
        ({"hflip": 1.5}, "hflip 1.5 is not a probability"),
        ({"channels": 1}, "data.channels must be 2, the polarities, or 3, with their sum, not 1"),
        ({"interpolation": "box"}, "data.interpolation must be nearest, bilinear or bicubic, not 'box'"),
    ],
)
def test_settings_that_mean_nothing(settings, said):
    with pytest.raises(ValueError, match=said):
        augmenting_clip_transform(image_size=16, **settings)
