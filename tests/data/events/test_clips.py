"""Clips and where they are kept."""

import io
import logging
import os
import sys

import numpy as np
import pytest
import torch

from spikeformers.data.events import Framing, Recording
from spikeformers.data.events import recording as recording_file
from spikeformers.data.events.clips import Clips
from spikeformers.data.events.folder import Recordings, list_recordings

FRAMING = Framing("number", 3, (8, 10))


def files_in(folder):
    return {path for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def recordings(make_folder):
    return list_recordings(make_folder() / "train")[0]


@pytest.fixture
def reads(monkeypatch):
    """The paths that are read in this process."""
    seen = []
    read = recording_file.read_events
    monkeypatch.setattr(recording_file, "read_events", lambda path: seen.append(path) or read(path))
    return seen


def test_an_item_is_counts_and_label(recordings, tmp_path):
    kept = Clips(recordings, FRAMING, cache=tmp_path / "cache")
    fresh = Clips(recordings, FRAMING, cache=None)
    for i in range(len(recordings)):
        (x, label), (y, _) = kept[i], fresh[i]
        assert x.dtype == torch.float32 and x.shape == (3, 2, 8, 10) and label == recordings.targets[i]
        assert torch.equal(x, y) and np.array_equal(x, FRAMING(*recordings[i][0].events()))


def test_made_once(recordings, tmp_path, reads):
    Clips(recordings, FRAMING, cache=tmp_path / "cache")
    assert len(reads) == 12 and len(files_in(tmp_path / "cache")) == 12
    Clips(recordings, FRAMING, cache=tmp_path / "cache")
    assert len(reads) == 12


@pytest.mark.parametrize(
    "other", [Framing("time", 3, (8, 10)), Framing("number", 4, (8, 10)), Framing("number", 3, (8, 11))]
)
def test_other_settings_are_other_files(recordings, tmp_path, other):
    Clips(recordings, FRAMING, cache=tmp_path)
    before = files_in(tmp_path / FRAMING.name)
    kept = Clips(recordings, other, cache=tmp_path)
    assert files_in(tmp_path / FRAMING.name) == before and len(files_in(tmp_path / other.name)) == 12
    assert torch.equal(kept[0][0], Clips(recordings, other, cache=None)[0][0])


def test_a_recording_that_changed_is_made_again(recordings, tmp_path, write_recording, events, reads):
    path = recordings[0][0].path
    Clips(recordings, FRAMING, cache=tmp_path / "cache")
    reads.clear()
    write_recording(type(tmp_path)(path), events)
    kept = Clips(recordings, FRAMING, cache=tmp_path / "cache")
    assert reads == [path]
    assert np.array_equal(kept[0][0], FRAMING(*np.array(events).T))


def test_a_file_of_the_same_size_but_another_date_is_made_again(recordings, tmp_path, reads):
    path = recordings[0][0].path
    Clips(recordings, FRAMING, cache=tmp_path / "cache")
    reads.clear()
    os.utime(path, ns=(1, 1))
    Clips(recordings, FRAMING, cache=tmp_path / "cache")
    assert reads == [path]


def test_an_interrupted_build_goes_on(recordings, tmp_path, monkeypatch, reads):
    written = []
    save = np.savez_compressed

    def interrupted(file, **arrays):
        if len(written) == 5:
            file.write(b"half")
            raise KeyboardInterrupt
        written.append(file)
        save(file, **arrays)

    monkeypatch.setattr(np, "savez_compressed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Clips(recordings, FRAMING, cache=tmp_path / "cache")
    assert len(files_in(tmp_path / "cache")) == 5  # whole ones, and nothing half
    monkeypatch.setattr(np, "savez_compressed", save)
    reads.clear()
    kept = Clips(recordings, FRAMING, cache=tmp_path / "cache")
    assert len(reads) == 7
    assert all(torch.equal(kept[i][0], Clips(recordings, FRAMING, cache=None)[i][0]) for i in range(12))


def test_two_processes_make_the_same(recordings, tmp_path):
    Clips(recordings, FRAMING, cache=tmp_path / "one")
    Clips(recordings, FRAMING, cache=tmp_path / "two", workers=2)
    one, two = (
        {p.relative_to(tmp_path / name): p.read_bytes() for p in files_in(tmp_path / name)} for name in ("one", "two")
    )
    assert one == two


def test_a_bar_shows_how_far_it_is_where_somebody_looks(recordings, tmp_path, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr("sys.stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    Clips(recordings, FRAMING, cache=tmp_path / "cache")
    assert "making frames" in sys.stderr.getvalue() and "100%" in sys.stderr.getvalue()


def test_a_broken_recording_among_many_is_named_and_counted(recordings, tmp_path, caplog):
    for i in (3, 7):
        type(tmp_path)(recordings[i][0].path).write_bytes(b"123456")
    with pytest.raises(ValueError, match=r"train/left/003\.bin .*6 bytes.*; 2 of 12 recordings are broken") as told:
        Clips(recordings, FRAMING, cache=tmp_path / "cache")
    assert "skip_broken" in str(told.value) and "\n" not in str(told.value)
    assert len(Clips(recordings, FRAMING, cache=None, skip_broken=True)) == 10
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        kept = Clips(recordings, FRAMING, cache=tmp_path / "cache", skip_broken=True)
    assert len(kept) == 10 and kept.skipped == tuple(recordings[i][0].path for i in (3, 7))
    assert "skipped 2 broken recording(s), the first: " in caplog.text and "003.bin" in caplog.text
    assert kept[3][1] == recordings[4][1] and torch.equal(kept[3][0], Clips(recordings, FRAMING, cache=None)[4][0])


def test_of_a_file_cut_in_parts_only_the_broken_part_is_left_out(write_recording, events, tmp_path, reads):
    path = str(write_recording(tmp_path / "a.aedat", events))
    parts = Recordings([(Recording(path, 0, 45), 0), (Recording(path, 71, 90), 1), (Recording(path, 20, 80), 2)])
    kept = Clips(parts, Framing("number", 1, (8, 10)), cache=tmp_path / "cache", skip_broken=True)
    assert [label for _, label in (kept[i] for i in range(len(kept)))] == [0, 2]
    assert [int(kept[i][0].sum()) for i in range(2)] == [4, 5]
    assert reads == [path]  # once for all its parts


def test_a_clip_damaged_on_disk_is_named(recordings, tmp_path):
    kept = Clips(recordings, FRAMING, cache=tmp_path / "cache")
    file = kept.file_of(recordings[0][0])
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(ValueError, match=rf"{file.name} cannot be read as frames .*delete it and create it again"):
        kept[0]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_cache_that_cannot_be_written(recordings, tmp_path, workers):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(
        ValueError, match=r"^\S+ cannot be written .*choose another folder for frames with data\.cache"
    ) as told:
        Clips(recordings, FRAMING, cache=tmp_path / "file", workers=workers)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("workers", [0, 2])
def test_what_was_put_right_is_counted_over_all(make_folder, tmp_path, caplog, workers):
    folder = make_folder(ending=".npz")
    for i in range(3):
        file = folder / "train" / "left" / f"00{i}.npz"
        np.savez(file, t=[30, 10, 20], x=[1, 2, 3], y=[1, 2, 3], p=[1, -1, 1] if i else [1, 1, 1])
    recordings = list_recordings(folder / "train")[0]
    with caplog.at_level(logging.WARNING):
        Clips(recordings, FRAMING, cache=tmp_path / "cache", workers=workers)
    first = folder / "train" / "left" / "000.npz"
    assert [record.message for record in caplog.records] == [
        f"only one polarity, in 1 of 12 recording(s), the first {first}: all are 1, read as brighter",
        f"sorted events by time, in 3 of 12 recording(s), the first {first}: 2 of 3 were late, by up to 2e-05 s",
    ]
    caplog.clear()
    Clips(recordings, FRAMING, cache=tmp_path / "cache", workers=workers)  # nothing is read again
    assert not caplog.text
