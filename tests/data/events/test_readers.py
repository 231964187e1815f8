"""Every format gives the events that were written, and a broken file its name and the reason."""

import sys

import numpy as np
import pytest

from spikeformers.data.events import Recording, read_events


def table(events):
    """The rows (t, x, y, p) of what a reader gave."""
    return [tuple(row) for row in np.stack(events, 1).tolist()]


@pytest.mark.parametrize("ending", [".bin", ".aedat", ".npy", ".npz"])
def test_every_format_of_ours(write_recording, events, tmp_path, ending):
    assert table(read_events(write_recording(tmp_path / f"a{ending}", events))) == events


@pytest.mark.parametrize("ending", [".aedat4", ".raw", ".h5"])
def test_formats_through_evlib(write_recording, events, tmp_path, ending):
    pytest.importorskip("evlib")
    pytest.importorskip("h5py")
    assert table(read_events(write_recording(tmp_path / f"a{ending}", events))) == events


def test_evlib_that_is_missing_is_asked_for(write_recording, events, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "evlib", None)
    with pytest.raises(ImportError, match=r'a\.raw needs evlib to be read: pip install "spikeformers\[events\]"'):
        read_events(write_recording(tmp_path / "a.raw", events))


@pytest.mark.parametrize(("ending", "reader"), [(".bin", "load_ATIS_bin"), (".aedat", "load_aedat_v3")])
def test_spikingjelly_reads_alike(write_recording, events, tmp_path, ending, reader):
    utils = pytest.importorskip("spikingjelly.datasets.utils")
    file = write_recording(tmp_path / f"a{ending}", events)
    theirs = getattr(utils, reader)(str(file))
    assert all(np.array_equal(ours, theirs[name]) for name, ours in read_events(file)._asdict().items())


def test_bytes_of_one_n_mnist_event(tmp_path):
    (tmp_path / "a.bin").write_bytes(bytes([33, 7, 0b1000_0001, 0x02, 0x03]))
    assert table(read_events(tmp_path / "a.bin")) == [(0x01_02_03, 33, 7, 1)]


def test_a_row_of_240_turns_the_clock_on(tmp_path, encode):
    (tmp_path / "a.bin").write_bytes(encode["bin"]([(5, 1, 2, 0), (0, 0, 240, 0), (6, 3, 4, 1)]))
    assert table(read_events(tmp_path / "a.bin")) == [(5, 1, 2, 0), (8192 + 6, 3, 4, 1)]


def test_aedat2(tmp_path, encode, events):
    (tmp_path / "a.aedat").write_bytes(encode["aedat2"](events))
    assert table(read_events(tmp_path / "a.aedat")) == events


def test_bytes_of_one_aedat2_event(tmp_path):
    # Address bits 8-14 hold 100, bits 1-7 hold 27, bit 0 is set.
    address = bytes([0, 0, 100, 27 << 1 | 1])
    (tmp_path / "a.aedat").write_bytes(b"#!AER-DAT2.0\n" + address + bytes([0, 0, 1, 0]))
    assert table(read_events(tmp_path / "a.aedat")) == [(256, 27, 100, 0)]


def test_an_aedat2_event_that_looks_like_a_comment_is_none(tmp_path, encode):
    first = encode["aedat2"]([(20, 1, 2, 0)], header=b"")
    assert first[0] != ord("#")
    (tmp_path / "a.aedat").write_bytes(b"#!AER-DAT2.0\r\n" + first)
    assert table(read_events(tmp_path / "a.aedat")) == [(20, 1, 2, 0)]


def test_aedat3_reads_valid_polarity_events_of_all_packets(tmp_path, encode):
    one, two, three = (10, 5, 6, 1), (20, 127, 0, 0), (30, 1, 1, 1)
    packets = (
        encode["packet"]([(15, 9, 9, 1)], kind=2),  # of frames, or whatever: not events
        encode["packet"]([two, (21, 3, 3, 1)], valid=[1, 0]),
        encode["packet"]([three], overflow=1),
    )
    (tmp_path / "a.aedat").write_bytes(encode["aedat3"]([one], *packets))
    assert table(read_events(tmp_path / "a.aedat")) == [one, two, (2**31 + 30, 1, 1, 1)]


def test_events_out_of_order_are_sorted(write_recording, tmp_path):
    rows = [(30, 1, 1, 1), (10, 2, 2, 0), (20, 3, 3, 1), (10, 4, 4, 1)]
    ordered = [rows[1], rows[3], rows[2], rows[0]]
    assert table(read_events(write_recording(tmp_path / "a.npz", rows))) == ordered


def test_polarities_may_be_signs(tmp_path):
    np.savez(tmp_path / "a.npz", t=[1, 2], x=[0, 1], y=[0, 0], p=[-1, 1])
    assert read_events(tmp_path / "a.npz").p.tolist() == [0, 1]


def test_a_part_of_a_file(write_recording, events, tmp_path):
    file = write_recording(tmp_path / "a.bin", events)
    assert table(Recording(str(file), 20, 50).events()) == events[1:4]  # from the start, and without the end
    with pytest.raises(ValueError, match="there is no event in 51 <= t < 60 microseconds"):
        Recording(str(file), 51, 60).events()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.bin", b"123456", "6 bytes are no multiple of 5"),
        ("a.bin", b"", "holds no events"),
        ("a.aedat", b"hello", "its first line is b'hello', not that of AEDAT 2.0 or 3.1"),
        ("a.aedat", b"#!AER-DAT2.0\r\n1234", "4 bytes of events are no multiple of 8"),
        ("a.aedat", b"#!AER-DAT2.0\r\n# AEChip: DAVIS240C\r\n" + bytes(8), "DAVIS camera"),
        ("a.aedat", b"#!AER-DAT3.1\r\n#!END", "its header has no end"),
        ("a.aedat", b"#!AER-DAT3.1\r\n#!END-HEADER\r\n1234", "cut off in the head of a packet"),
        ("a.npz", b"no zip", "cannot be read as a recording"),
        ("a.txt", b"1 2 3 4", "its name ends in none of .bin .aedat"),
    ],
)
def test_broken_files_are_named_with_the_reason(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"(?s)a\.\w+ .*{said}") as told:
        read_events(tmp_path / name)
    assert "\n" not in str(told.value)


def test_aedat3_cut_off_within_a_packet(tmp_path, encode, events):
    (tmp_path / "a.aedat").write_bytes(encode["aedat3"](events)[:-3])
    with pytest.raises(ValueError, match=r"a\.aedat .*cut off within a packet"):
        read_events(tmp_path / "a.aedat")


def test_arrays_that_are_no_events(tmp_path):
    np.save(tmp_path / "plain.npy", np.zeros((4, 4)))
    np.savez(tmp_path / "short.npz", t=[1], x=[1], y=[1])
    np.savez(tmp_path / "ragged.npz", t=[1, 2], x=[1], y=[1], p=[1])
    for name, said in (("plain.npy", "plain array"), ("short.npz", "it has no p"), ("ragged.npz", "differ in shape")):
        with pytest.raises(ValueError, match=said):
            read_events(tmp_path / name)


def test_no_such_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no recording"):
        read_events(tmp_path / "nowhere.bin")
