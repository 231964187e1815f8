"""The size of the sensor: what files state, or what holds their events but for a few faults."""

import numpy as np
import pytest

from spikeformers.data.events import Recording, load_events
from spikeformers.data.events.clips import Clips
from spikeformers.data.events.folder import Recordings
from spikeformers.data.events.frames import Framing
from spikeformers.data.events.headers import sensor_in
from spikeformers.data.events.sensor import measure_sensor

SETTINGS = {"frames_by": "number"}


@pytest.fixture
def noisy(tmp_path):
    """Writes `count` recordings of 32 x 32 pixels, with some events besides in one of them."""

    def noisy(*more, count=8):
        rng = np.random.default_rng(0)
        for part, name in ((part, name) for part in ("train", "test") for name in ("a", "b")):
            (tmp_path / "own" / part / name).mkdir(parents=True, exist_ok=True)
            for i in range(count):
                x, y = rng.integers(0, 32, (2, 600))
                first = (part, name, i) == ("train", "a", 0)
                x, y = (np.concatenate([c, [at[k] for at in more if first]]) for k, c in enumerate((x, y)))
                t = np.arange(len(x))
                np.savez(tmp_path / "own" / part / name / f"{i}.npz", t=t, x=x, y=y, p=t % 2)
        return str(tmp_path / "own")

    return noisy


@pytest.mark.parametrize("bad", [(65535, 3), (65535, 65535), (3, 40_000), (200_000, 3)])
def test_one_bad_pixel_does_not_decide(noisy, bad, caplog):
    folder = noisy(bad)
    sets = load_events(folder, validation=0)
    assert sets.sensor == (32, 32)
    assert f"all recordings of {folder} fit 32 x 32 pixels" in caplog.text
    if max(bad) < 2**16:
        assert "some events lie far outside, up to x = " in caplog.text
    caplog.clear()
    clips = sets.prepared(sets.train, sets.preprocess(SETTINGS, image_size=32, time_steps=4), {"skip_broken": True})
    assert clips[0][0].sum() == 600 and len(clips) == 16
    assert "dropped events outside the sensor, in 1 of 16 recording(s)" in caplog.text
    assert f"1 of 601, such as x = {bad[0]}, y = {bad[1]}, on 32 x 32 pixels" in caplog.text


def test_a_bad_pixel_that_fires_all_the_time_does_not_decide(noisy):
    assert load_events(noisy(*[(999, 3)] * 5000), validation=0).sensor == (32, 32)


def test_pixels_below_zero_are_left_out(noisy, caplog):
    sets = load_events(noisy((-1, 3), (-1, 4)), validation=0)
    assert sets.sensor == (32, 32)
    clips = sets.prepared(sets.train, sets.preprocess(SETTINGS, image_size=32, time_steps=4), {})
    assert clips[0][0].sum() == 600
    assert "dropped events outside the sensor (2 of 602, such as x = -1, y = 3" in caplog.text


def test_a_sensor_used_in_one_half_only_is_whole(tmp_path):
    """Of most recordings the right half is silent, and still part of the sensor."""
    for i in range(50):
        x = np.arange(128 if i == 7 else 64)
        np.savez(tmp_path / f"{i}.npz", t=x, x=x, y=x % 64, p=x % 2)
    recordings = Recordings([(Recording(str(tmp_path / f"{i}.npz")), 0) for i in range(50)])
    assert measure_sensor("own", recordings, 0) == (64, 128)


def test_what_files_state_is_believed(make_folder, caplog, encode, events):
    folder = make_folder(ending=".dat")
    assert load_events(str(folder)).sensor == (8, 10) and "fit" not in caplog.text
    (folder / "train" / "left" / "big.dat").write_bytes(encode["dat"](events, size=(304, 240)))
    assert load_events(str(folder)).sensor == (240, 304)
    assert f"recordings of {folder} come from cameras of 8 x 10, 240 x 304 pixels" in caplog.text


@pytest.mark.parametrize("ending", [".dat", ".es", ".raw"])
def test_a_stated_sensor_is_not_outgrown_by_a_fault(make_folder, write_recording, events, ending):
    pytest.importorskip("evlib")
    folder = make_folder(ending=ending)
    write_recording(folder / "train" / "left" / f"0{ending}", [*events, (90, 700, 3, 1)])
    assert load_events(str(folder), validation=0).sensor == (8, 10)


def test_a_recording_of_another_camera_is_refused(tmp_path):
    x = np.arange(100)
    np.savez(tmp_path / "a.npz", t=x, x=x, y=x % 8, p=x % 2)
    with pytest.raises(
        ValueError, match=r"a\.npz cannot be cut into frames: 50 of its 100 events lie outside the 8 x 50"
    ):
        Clips(Recordings([(Recording(str(tmp_path / "a.npz")), 0)]), Framing("number", 2, (8, 50)), cache=None)[0]


@pytest.mark.parametrize(
    ("header", "sensor"),
    [
        (b"% geometry 640x480\n", (480, 640)),
        (b"% format EVT3;height=720;width=1280\n", (720, 1280)),
        (b"% Height 240\n% Width 304\n", (240, 304)),
        (b'<attr key="sizeX" type="int">346</attr><attr key="sizeY" type="int">260</attr>', (260, 346)),
        (b"% Height 240\n", None),
        (b"", None),
    ],
)
def test_what_headers_state(header, sensor):
    assert sensor_in(header) == sensor
