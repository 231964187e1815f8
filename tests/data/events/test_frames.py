"""Frames against counts by hand."""

import numpy as np
import pytest

from spikeformers.data.events import Framing


def cut(by, time_steps, events, sensor=(8, 10)):
    return Framing(by, time_steps, sensor)(*np.array(events).T)


def where(frame):
    """Of a frame `[2, H, W]`: {(p, y, x): count}."""
    return {tuple(place): int(frame[tuple(place)]) for place in np.argwhere(frame).tolist()}


def test_by_number_every_frame_has_as_many_events(events):
    frames = cut("number", 3, events)
    assert frames.shape == (3, 2, 8, 10)
    assert [where(frame) for frame in frames] == [
        {(1, 0, 0): 1, (0, 7, 9): 1},
        {(0, 7, 9): 1, (1, 5, 3): 1},
        {(0, 2, 4): 1, (1, 6, 1): 1},
    ]


def test_by_number_the_last_frame_takes_what_is_left(events):
    assert cut("number", 4, events).sum((1, 2, 3)).tolist() == [1, 1, 1, 3]


def test_by_time_every_frame_lasts_as_long(events):
    frames = cut("time", 3, events)  # from 10 to 70: 20 microseconds each
    assert [where(frame) for frame in frames] == [
        {(1, 0, 0): 1, (0, 7, 9): 1},  # 10, 20
        {(0, 7, 9): 1, (1, 5, 3): 1},  # 30, 40
        {(0, 2, 4): 1, (1, 6, 1): 1},  # 50, and 70, the end
    ]
    assert cut("time", 6, events).sum((1, 2, 3)).tolist() == [1, 1, 1, 1, 1, 1]
    late = [(t if t < 50 else t + 1000, *rest) for t, *rest in events]
    assert cut("time", 4, late).sum((1, 2, 3)).tolist() == [4, 0, 0, 2]  # nothing happened in between


def test_a_recording_shorter_than_its_frames_in_time():
    assert cut("time", 4, [(5, 0, 0, 1), (6, 1, 1, 0)]).sum((1, 2, 3)).tolist() == [1, 1, 0, 0]
    assert cut("time", 2, [(5, 0, 0, 1)]).sum((1, 2, 3)).tolist() == [1, 0]


@pytest.mark.parametrize(("count", "kind"), [(255, np.uint8), (256, np.uint16), (65536, np.uint32)])
def test_counts_are_kept_whole(count, kind):
    frames = Framing("number", 1, (2, 2))(*(np.full(count, value) for value in (5, 1, 0, 1)))
    assert frames.dtype == kind
    assert where(frames[0]) == {(1, 0, 1): count}


def test_events_outside_the_sensor_are_refused(events):
    with pytest.raises(
        ValueError, match=r"2 of its 6 events lie outside the 8 x 9 pixels .*up to x = 9, y = 7: .*data\.s"
    ):
        cut("number", 2, events, (8, 9))
    with pytest.raises(ValueError, match="2 of its 6 events lie outside the 7 x 10 pixels"):
        cut("number", 2, events, (7, 10))
    with pytest.raises(ValueError, match="1 of its 1 events lie outside"):
        cut("number", 1, [(1, -1, 0, 0)])


@pytest.mark.parametrize("sensor", [(8, 65536), (0, 10), (-1, -1)])
def test_a_sensor_that_no_camera_has(sensor):
    with pytest.raises(ValueError, match=rf"a sensor cannot have {sensor[0]} x {sensor[1]} pixels: set data\.sensor"):
        Framing("number", 2, sensor)


def test_fewer_events_than_frames(events):
    with pytest.raises(ValueError, match="6 events cannot be cut into 7 frames"):
        cut("number", 7, events)


@pytest.mark.parametrize("by", ["number", "time"])
@pytest.mark.parametrize("time_steps", [1, 5, 16])
def test_spikingjelly_cuts_alike(by, time_steps):
    utils = pytest.importorskip("spikingjelly.datasets.utils")
    rng = np.random.RandomState(0)
    columns = (
        np.sort(rng.randint(0, 5000, 1003)),
        rng.randint(0, 34, 1003),
        rng.randint(0, 30, 1003),
        rng.randint(0, 2, 1003),
    )
    theirs = utils.integrate_events_by_fixed_frames_number(
        dict(zip("txyp", columns, strict=True)), by, time_steps, H=30, W=34
    )
    assert np.array_equal(Framing(by, time_steps, (30, 34))(*columns), theirs)
