"""Recordings for tests, by the encoders of tiny_recordings.py."""

import pytest
from tiny_recordings import EVENTS, aedat2, aedat3, aedat3_packet, atis_bin, davis, event_stream, prophesee_dat, write

from spikeformers.data.events import remarks


@pytest.fixture
def events():
    return list(EVENTS)


@pytest.fixture
def encode():
    """The encoders by name."""
    return {
        "bin": atis_bin, "aedat2": aedat2, "davis": davis, "aedat3": aedat3, "packet": aedat3_packet,
        "dat": prophesee_dat, "es": event_stream,
    }  # fmt: skip


@pytest.fixture(autouse=True)
def nothing_said_yet(monkeypatch):
    """Each test hears what a process says of its first few recordings only."""
    monkeypatch.setattr(remarks, "_logged", remarks.Counter())


@pytest.fixture
def write_recording():
    return write


@pytest.fixture
def make_folder(tmp_path):
    """Writes `<part>/<class>/<n>.<ending>`; the classes differ in the column where things happen."""

    def make_folder(name="own", *, parts=None, classes=("left", "right"), ending=".bin", first=0):
        for part, count in (parts or {"train": 6, "test": 2}).items():
            for label, kind in enumerate(classes):
                for i in range(first, first + count):
                    rows = [(10 * k + 10, 2 + 4 * label, (k + i) % 8, k % 2) for k in range(8)] + [(90, 9, 7, 1)]
                    write(tmp_path / name / part / kind / f"{i:03}{ending}", rows)
        return tmp_path / name

    return make_folder
