"""Every format gives the events that were written, and a broken file its name and the reason."""

import multiprocessing
import sys

import numpy as np
import pytest

from spikeformers.data.events import Recording, read_events
from spikeformers.data.events.recording import read_columns


def table(events):
    """The rows (t, x, y, p) of what a reader gave."""
    return [tuple(row) for row in np.stack(events, 1).tolist()]


@pytest.mark.parametrize("ending", [".bin", ".aedat", ".npy", ".npz", ".dat", ".es", ".mat", ".txt", ".csv"])
def test_every_format_of_ours(write_recording, events, tmp_path, ending):
    assert table(read_events(write_recording(tmp_path / f"a{ending}", events))) == events


@pytest.mark.parametrize("ending", [".aedat4", ".raw", ".h5"])
def test_formats_of_the_extra(write_recording, events, tmp_path, ending):
    pytest.importorskip("evlib")
    assert table(read_events(write_recording(tmp_path / f"a{ending}", events))) == events


@pytest.mark.parametrize(("ending", "library"), [(".raw", "evlib"), (".h5", "h5py")])
def test_a_library_that_is_missing_is_asked_for(write_recording, events, tmp_path, monkeypatch, ending, library):
    pytest.importorskip(library)
    file = write_recording(tmp_path / f"a{ending}", events)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=rf'a{ending} needs {library}: pip install "spikeformers\[events\]"'):
        read_events(file)


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
    # Address bits 8-14 hold 100, bits 1-7 hold 27, bit 0 is set: 100 rows from the bottom, 27 columns from the right.
    address = bytes([0, 0, 100, 27 << 1 | 1])
    (tmp_path / "a.aedat").write_bytes(b"#!AER-DAT2.0\n" + address + bytes([0, 0, 1, 0]))
    assert table(read_events(tmp_path / "a.aedat")) == [(256, 127 - 27, 127 - 100, 0)]


def test_one_recording_is_alike_in_aedat2_and_aedat4(tmp_path, encode, write_recording):
    pytest.importorskip("evlib")
    walker = [(1000 * i, 3 * i + k % 3, 60 + k, k % 2) for i in range(20) for k in range(40)]  # from left to right
    (tmp_path / "a.aedat").write_bytes(encode["aedat2"](walker))
    two, four = read_events(tmp_path / "a.aedat"), read_events(write_recording(tmp_path / "a.aedat4", walker))
    assert table(two) == table(four) == walker


def test_external_signals_in_aedat2_are_no_events(tmp_path, encode, events):
    signal = bytes([0, 0, 0x80, 0]) + bytes([0, 0, 0, 15])
    (tmp_path / "a.aedat").write_bytes(encode["aedat2"](events) + signal)
    assert table(read_events(tmp_path / "a.aedat")) == events


@pytest.mark.parametrize("name", ["ch.unizh.ini.jaer.chip.retina.DVS128", "ch.unizh.ini.jaer.chip.retina.Tmpdiff128"])
def test_aedat2_that_names_its_camera(tmp_path, encode, events, name):
    header = f"#!AER-DAT2.0\r\n# AEChip: {name}\r\n# HardwareInterface: Davis346\r\n".encode()
    (tmp_path / "a.aedat").write_bytes(encode["aedat2"](events, header))
    assert table(read_events(tmp_path / "a.aedat")) == events
    assert read_columns(tmp_path / "a.aedat").sensor == (128, 128)


def test_aedat2_of_a_davis(tmp_path, encode, events):
    (tmp_path / "a.aedat").write_bytes(encode["davis"](events))
    assert table(read_events(tmp_path / "a.aedat")) == events
    assert read_columns(tmp_path / "a.aedat").sensor == (180, 240)


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


# ---- Prophesee's .dat, Event Stream


@pytest.mark.parametrize("version", [1, 2])
def test_dat_of_both_versions(tmp_path, encode, events, version):
    rows = [*events, (80, 303, 239, 1)]
    (tmp_path / "a.dat").write_bytes(encode["dat"](rows, version=version, size=(304, 240)))
    assert table(read_events(tmp_path / "a.dat")) == rows
    assert read_columns(tmp_path / "a.dat").sensor == (240, 304)


def test_bytes_of_one_dat_event(tmp_path):
    word = (1 << 28 | 5 << 14 | 300).to_bytes(4, "little")
    (tmp_path / "a.dat").write_bytes(b"% Data file\n% Version 2\n" + b"\x0c\x08" + bytes([0, 1, 0, 0]) + word)
    assert table(read_events(tmp_path / "a.dat")) == [(256, 300, 5, 1)]


@pytest.mark.parametrize("atis", [False, True])
def test_event_stream_with_long_silences(tmp_path, encode, atis):
    rows = [(126, 255, 0, 1), (127, 3, 254, 0), (2000, 9, 7, 1), (2000, 511, 1, 1), (90_000, 4, 2, 0)]
    (tmp_path / "a.es").write_bytes(encode["es"](rows, atis=atis, size=(512, 256)))
    assert table(read_events(tmp_path / "a.es")) == rows
    assert read_columns(tmp_path / "a.es").sensor == (256, 512)


def test_bytes_of_an_event_stream(tmp_path):
    header = b"Event Stream" + bytes([2, 0, 0, 1, 10, 0, 8, 0])
    (tmp_path / "a.es").write_bytes(header + bytes([0xFF, 0xFE, 3 << 1 | 1, 9, 0, 7, 0]))
    assert table(read_events(tmp_path / "a.es")) == [(127 + 3, 9, 8 - 1 - 7, 1)]


def test_brightness_of_an_atis_is_no_event(tmp_path):
    header = b"Event Stream" + bytes([2, 0, 0, 2, 10, 0, 8, 0])
    change, measured = bytes([5 << 2 | 2, 9, 0, 7, 0]), bytes([5 << 2 | 1, 9, 0, 7, 0])
    (tmp_path / "a.es").write_bytes(header + measured + change)
    assert table(read_events(tmp_path / "a.es")) == [(10, 9, 0, 1)]


# ---- layouts of tables


@pytest.mark.parametrize("order", ["txyp", "xytp", "xypt"])
@pytest.mark.parametrize("ending", [".npy", ".txt", ".csv"])
def test_plain_tables_show_their_columns(tmp_path, order, ending):
    rng = np.random.default_rng(0)
    rows = [(1000 + 70 * k, rng.integers(30), rng.integers(20), k % 2) for k in range(200)]
    columns = np.array(rows)[:, ["txyp".index(name) for name in order]]
    file = tmp_path / f"a{ending}"
    if ending == ".npy":
        np.save(file, columns)
        np.save(tmp_path / "lying.npy", columns.T)
        assert table(read_events(tmp_path / "lying.npy")) == rows
    else:
        np.savetxt(file, columns, "%d", delimiter="," if ending == ".csv" else " ")
    assert table(read_events(file)) == rows


@pytest.mark.parametrize(
    ("text", "sensor"),
    [
        ("# a comment\n0.000010 3 4 1\n0.000020 9 7 0\n", None),
        ("\ufeff10 3 4 1\n20 9 7 0\n", None),
        ("240 180\n0.000010 3 4 1\n0.000020 9 7 0\n", (180, 240)),
        ("# t x y p\n10 3 4 1\n20 9 7 0\n", None),
        ("Timestamp; X; Y; Pol; quality\n10; 3; 4; 1; 7\n20; 9; 7; 0; 8\n", None),
        ('"x","y","p","t"\n3,4,1,10\n9,7,0,20\n', None),
    ],
)
def test_ways_to_write_text(tmp_path, text, sensor):
    (tmp_path / "a.txt").write_text(text, "utf-8")
    assert table(read_events(tmp_path / "a.txt")) == [(10, 3, 4, 1), (20, 9, 7, 0)]
    assert read_columns(tmp_path / "a.txt").sensor == sensor


@pytest.mark.parametrize("nested", [False, True])
def test_matlabs_variables_or_fields_of_a_struct(tmp_path, events, nested):
    from scipy.io import savemat

    columns = dict(zip(("ts", "x", "y", "p"), np.array(events).T, strict=True))
    savemat(tmp_path / "a.mat", {"note": "none", "TD": columns} if nested else columns)
    assert table(read_events(tmp_path / "a.mat")) == events


def test_matlabs_newer_files(tmp_path, events):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.mat", "w", userblock_size=512) as file:
        for name, column in zip(("ts", "x", "y", "pol"), np.array(events).T, strict=True):
            file[f"TD/{name}"] = column[None].astype(float)
    with (tmp_path / "a.mat").open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + bytes([0, 2]) + b"IM")
    assert table(read_events(tmp_path / "a.mat")) == events


@pytest.mark.parametrize("layout", ["flat", "group", "spelled", "table", "prophesee", "mvsec"])
def test_layouts_of_hdf5(tmp_path, events, layout, caplog):
    h5py = pytest.importorskip("h5py")
    rows = np.array(events)
    kinds = [("x", "u2"), ("y", "u2"), ("p", "i2"), ("t", "i8")]
    records = np.array([(x, y, p, t) for t, x, y, p in events], kinds)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        match layout:
            case "flat" | "group" | "spelled":
                group, s = "" if layout == "flat" else "events/", "s" if layout == "spelled" else ""
                for name, column in zip("txyp", rows.T, strict=True):
                    file[f"{group}{name}{s}"] = column
                file["unrelated"] = np.arange(3)
            case "table":
                file["events"] = records
            case "prophesee":
                file["CD/events"] = records
                file["CD/indexes"] = np.zeros(2, [("id", "u8"), ("ts", "i8")])
                file.attrs["geometry"] = "1280x720"
            case "mvsec":
                t, x, y, p = rows.T
                for side in ("left", "right"):
                    file[f"davis/{side}/events"] = np.stack([x, y, 1.5e9 + t / 1e6, 2 * p - 1], 1)
                file["davis/left/image_raw"] = np.zeros((2, 4))
    read = read_events(tmp_path / "a.h5")
    if layout == "mvsec":  # seconds since 1970 have a quarter of a microsecond in float64
        assert np.abs(read.t - read.t[0] + 10 - rows[:, 0]).max() <= 1
        assert "davis/left/events, not davis/right/events" in caplog.text
        rows[:, 0] = read.t
    assert np.array_equal(np.stack(read, 1), rows)
    assert read_columns(tmp_path / "a.h5").sensor == ((720, 1280) if layout == "prophesee" else None)


def test_hdf5_that_h5py_cannot_decompress_is_left_to_evlib(write_recording, events, tmp_path, monkeypatch):
    h5py = pytest.importorskip("h5py")
    pytest.importorskip("evlib")
    file = write_recording(tmp_path / "a.h5", events)

    def refuse(*_):
        raise OSError("Can't synchronously read data (required filter '36559' is not registered)")

    monkeypatch.setattr(h5py.Dataset, "__getitem__", refuse)
    assert table(read_events(file)) == events


def test_empty_datasets_in_hdf5_are_passed_over(write_recording, events, tmp_path):
    h5py = pytest.importorskip("h5py")
    file = write_recording(tmp_path / "a.h5", events)
    with h5py.File(file, "a") as opened:
        opened["events/notes"] = opened["notes"] = h5py.Empty("f")
    assert table(read_events(file)) == events


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_a_process_that_was_forked_after_reading_reads_too(write_recording, events, tmp_path):
    pytest.importorskip("evlib")
    file = write_recording(tmp_path / "a.raw", events)
    (tmp_path / "b.raw").write_bytes(b"no recording")
    assert table(read_events(file)) == events

    def read():
        assert table(read_events(file)) == events and table(read_events(file)) == events
        with pytest.raises(ValueError, match=r"b\.raw cannot be read as a recording \(") as told:
            read_events(tmp_path / "b.raw")
        assert "decodes it ended" not in str(told.value)

    child = multiprocessing.get_context("fork").Process(target=read, daemon=True)  # as a loading process is
    child.start()
    child.join(300)
    child.kill()
    assert child.exitcode == 0


def test_hdf5_without_events(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["frames"] = np.zeros((3, 2, 8, 8))
    with pytest.raises(ValueError, match="it has no t, x, y and p, neither in a group nor as a table"):
        read_events(tmp_path / "a.h5")


def test_a_part_of_a_file(write_recording, events, tmp_path):
    file = write_recording(tmp_path / "a.bin", events)
    assert table(Recording(str(file), 20, 50).events()) == events[1:4]  # from the start, and without the end
    with pytest.raises(ValueError, match="there are no events in 51 <= t < 60 microseconds"):
        Recording(str(file), 51, 60).events()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.bin", b"123456", "6 bytes, is not a multiple of 5"),
        ("a.bin", b"", "holds no events"),
        ("a.aedat", b"hello", "its first line is b'hello', not that of AEDAT 2.0 or 3.1"),
        ("a.aedat", b"#!AER-DAT2.0\r\n1234", "4 bytes, which is not a multiple of 8"),
        ("a.aedat", b"#!AER-DAT2.0\r\n# AEChip: x.SBret10\r\n" + bytes(8), "its camera is SBRET10: .* DVS128"),
        ("a.aedat", b"#!AER-DAT3.1\r\n#!END", "its header has no end"),
        ("a.aedat", b"#!AER-DAT3.1\r\n#!END-HEADER\r\n1234", "cut off within the header of a packet"),
        ("a.npz", b"no zip", "cannot be read as a recording"),
        ("a.foo", b"1 2 3 4", "its name must end in one of .bin .aedat"),
        ("a.txt", b"none of it\n", "it is not a table of events: write t x y p"),
        ("a.csv", b"t,x,y,p\n1,2,3,4\n5,6\n", "number of columns changed"),
        ("a.dat", b"123456789", "it has no header of lines that begin with %"),
        ("a.dat", b"% Version 2\n\x00\x08" + bytes(7), "7 bytes, which is not a multiple of 8"),
        ("a.dat", b"% Version 2\n\x0e\x08" + bytes(8), "its events are of kind 14 with 8 bytes"),
        ("a.es", b"Event", "it is cut off in its header"),
        (
            "a.es",
            b"Event Stream\x01\x00\x00\x01" + bytes(9),
            "version 1, kind 1: only version 2 of DVS or ATIS is read",
        ),
        ("a.es", b"Event Stream\x02\x00\x00\x01\x0a\x00\x08\x00" + bytes(8), "its last event has 3 bytes of 5"),
        ("a.mat", b"123", "cannot be read as a recording"),
        ("a.h5", b"123", "cannot be read as a recording"),
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
    np.save(tmp_path / "plain.npy", np.zeros((5, 3)))
    np.savez(tmp_path / "frames.npz", frames=np.zeros((4, 2, 8, 8)))
    np.savez(tmp_path / "short.npz", t=[1], x=[1], y=[1])
    np.savez(tmp_path / "ragged.npz", t=[1, 2], x=[1], y=[1], p=[1])
    for name, said in (
        ("plain.npy", r"plain array \[5, 3\]: save \[N, 4\]"),
        ("short.npz", "it has t, x, y, not t, x, y and p"),
        ("ragged.npz", "differ in shape"),
        ("frames.npz", "it holds frames, not events: put files of frames into a folder frames_number_<T>_split_by_"),
    ):
        with pytest.raises(ValueError, match=said):
            read_events(tmp_path / name)


def test_no_such_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no recording"):
        read_events(tmp_path / "nowhere.bin")
