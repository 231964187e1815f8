"""Long recordings cut into samples, of which all of one recording fall on the same side of a split."""

import numpy as np
import pytest

from spikeformers.data import load_sets
from spikeformers.data.events import Recording, Window, load_events
from spikeformers.data.events.windows import cut_all, window_of
from spikeformers.data.settings import Data


@pytest.fixture
def long_recordings(tmp_path):
    """10 recordings per class of 7 seconds each, at 100 events a second; nothing happens in the sixth second."""
    for name in ("a", "b"):
        (tmp_path / "long" / name).mkdir(parents=True)
        for i in range(10):
            t = np.concatenate([np.arange(0, 5_000_000, 10_000), np.arange(6_000_000, 7_000_000, 10_000)])
            k = np.arange(len(t))
            np.savez(tmp_path / "long" / name / f"{i}.npz", t=t, x=k % 10, y=k % 8, p=k % 2)
    return tmp_path / "long"


def test_windows_by_time(long_recordings):
    recording = Recording(str(long_recordings / "a" / "0.npz"))
    windows = Window(1_000_000, 500_000)(recording, recording.opened())
    starts = [window.start for window in windows]
    assert starts == [500_000 * i for i in range(12) if i != 10]  # silence from 5 s to 6 s is no sample
    assert all(len(window.events().t) in (50, 100) for window in windows)
    assert all(window.start <= window.events().t[0] < window.end for window in windows)


def test_windows_in_which_next_to_nothing_happens_are_left_out(tmp_path):
    t = np.sort(
        np.concatenate([np.arange(0, 1_000_000, 1000), [1_200_000, 1_700_000], np.arange(2_000_000, 3_000_000, 1000)])
    )
    np.savez(tmp_path / "a.npz", t=t, x=t % 10, y=t % 8, p=np.arange(len(t)) % 2)
    np.savez(tmp_path / "quiet.npz", t=np.arange(0, 9_000_000, 300_000), x=[1] * 30, y=[1] * 30, p=[0, 1] * 15)
    window, busy, quiet = (
        Window(1_000_000, 1_000_000),
        Recording(str(tmp_path / "a.npz")),
        Recording(str(tmp_path / "quiet.npz")),
    )
    assert [w.start for w in window(busy, busy.opened())] == [
        0
    ]  # 1 to 2 s has two events, and 2 s to the end is shorter
    assert window(quiet, quiet.opened()) == [quiet]


def test_windows_by_number(long_recordings):
    recording = Recording(str(long_recordings / "a" / "0.npz"))
    windows = Window(200, 150, of_events=True)(recording, recording.opened())
    whole = recording.events()
    assert [window.first for window in windows] == [0, 150, 300]
    assert all(np.array_equal(w.events().t, whole.t[w.first : w.last]) for w in windows)
    assert all(len(window.events().t) == 200 for window in windows)


def test_how_many_windows_there_are_at_most(long_recordings):
    recording = Recording(str(long_recordings / "a" / "0.npz"))
    events = recording.opened()
    for window, silent in (
        (Window(200, 150, of_events=True), 0),
        (Window(600, 1, of_events=True), 0),
        (Window(1_000_000, 500_000), 1),  # which is no sample
        (Window(8_000_000, 1), 0),  # longer than the recording
    ):
        assert window.most(events) == len(window(recording, events)) + silent


def test_a_part_of_a_file_is_cut_within(long_recordings):
    part = Recording(str(long_recordings / "a" / "0.npz"), 1_000_000, 3_500_000)
    assert [(w.start, w.end) for w in Window(1_000_000, 1_000_000)(part, part.opened())] == [
        (1_000_000, 2_000_000),
        (2_000_000, 3_000_000),
    ]
    of_events = Window(100, 100, of_events=True)(part, part.opened())
    assert [int(w.events().t[0]) for w in of_events] == [1_000_000, 2_000_000]


def test_what_is_shorter_stays_whole(long_recordings):
    recording = Recording(str(long_recordings / "a" / "0.npz"))
    assert Window(8_000_000, 1)(recording, recording.opened()) == [recording]


@pytest.mark.parametrize("window", [Window(1_000_000, 250_000), Window(100, 50, of_events=True)])
def test_all_windows_of_a_recording_are_in_one_split(long_recordings, window, caplog):
    sets = load_events(str(long_recordings), validation=0.2, test=0.2, split_seed=3, sensor=(8, 10), window=window)
    paths = [{split[i][0].path for i in range(len(split))} for split in (sets.train, sets.validation, sets.test)]
    assert [len(split) for split in paths] == [12, 4, 4]
    assert not (paths[0] & paths[1] or paths[0] & paths[2] or paths[1] & paths[2])
    assert len(sets.train) > 5 * 12
    assert f"are cut into samples: 12 into {len(sets.train)} for training, 4 into" in caplog.text
    labels = [sets.train[i][1] for i in range(len(sets.train))]
    assert all(label == ("ab".index(sets.train[i][0].path.split("/")[-2])) for i, label in enumerate(labels))


def test_two_processes_cut_the_same(long_recordings):
    recordings = load_events(str(long_recordings), validation=0, sensor=(8, 10)).train
    window = Window(2_000_000, 2_000_000)
    assert cut_all(recordings, window, 0).items == cut_all(recordings, window, 2).items


def test_each_window_has_its_own_frames(long_recordings, tmp_path):
    sets = load_events(str(long_recordings), validation=0, sensor=(8, 10), window=Window(200, 100, of_events=True))
    preprocess = sets.preprocess({"frames_by": "number"}, image_size=8, time_steps=2)
    clips = sets.prepared(sets.test, preprocess, {"cache": str(tmp_path / "frames")})
    assert len(clips) == 10 and len(list((tmp_path / "frames").rglob("*.npz"))) == 10
    assert all(clips[i][0].shape == (2, 2, 8, 8) for i in range(10))


def test_a_recording_that_cannot_be_read_is_named_where_frames_are_made(long_recordings, tmp_path):
    (long_recordings / "a" / "0.npz").write_bytes(b"broken")
    sets = load_events(str(long_recordings), validation=0, sensor=(8, 10), window=Window(1_000_000, 1_000_000))
    preprocess = sets.preprocess({"frames_by": "number"}, image_size=8, time_steps=2)
    with pytest.raises(ValueError, match=r"a/0\.npz cannot be read as a recording"):
        sets.prepared(sets.train, preprocess, {"cache": str(tmp_path / "frames")})
    kept = sets.prepared(sets.train, preprocess, {"cache": str(tmp_path / "frames"), "skip_broken": True})
    assert len(kept) == len(sets.train) - 1


def test_settings(long_recordings):
    settings = {**vars(Data()), "name": str(long_recordings), "validation": 0, "sensor": (8, 10), "workers": 0}
    assert window_of(settings) is None
    sets = load_sets({**settings, "window": (1.0, 0.5)}, seed=0)
    assert len(sets.test) == 2 * 11
    assert sets.preprocess({"frames_by": "time", "window": (1.0, 0.5)}, image_size=8, time_steps=2)["window"] == [
        1.0,
        0.5,
    ]
    assert len(load_sets({**settings, "window_events": (100, 100)}, seed=0).test) == 2 * 6
    with pytest.raises(ValueError, match=r"data\.window and data\.window_events cannot be combined: leave one out"):
        window_of({"window": (1, 1), "window_events": (1, 1)})
    for wrong in ({"window": (0, 1)}, {"window": (1, -1)}, {"window_events": (10, 0)}):
        with pytest.raises(ValueError, match=r"data\.window\w* \[.*\] is not \[length, stride\], both above 0"):
            window_of(wrong)
