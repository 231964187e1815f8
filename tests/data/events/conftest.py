"""Recordings in every format, encoded here bit by bit, and not by the code under test."""

import struct

import numpy as np
import pytest

# t, x, y, p: six events of a sensor of 8 rows and 10 columns, both polarities, one pixel twice.
EVENTS = [(10, 0, 0, 1), (20, 9, 7, 0), (30, 9, 7, 0), (40, 3, 5, 1), (50, 4, 2, 0), (70, 1, 6, 1)]


@pytest.fixture
def events():
    return list(EVENTS)


def atis_bin(events):
    """5 bytes an event, big endian: x, y, and polarity in the top bit of 24 with the time below it."""
    return b"".join(struct.pack(">BB", x, y) + (p << 23 | t).to_bytes(3, "big") for t, x, y, p in events)


def aedat2(events, header=b"#!AER-DAT2.0\r\n# This is a raw AE data file\r\n"):
    """Address and time, big endian; bit 0 is 1 for off, bits 1-7 and 8-14 count from the far corner of 128 x 128."""
    words = (((127 - x) << 8 | (127 - y) << 1 | (1 - p), t) for t, x, y, p in events)
    return header + b"".join(struct.pack(">II", *pair) for pair in words)


def aedat3_packet(events, *, kind=1, overflow=0, valid=None):
    head = struct.pack("<HHIIIIII", kind, 1, 8, 4, overflow, len(events), len(events), len(events))
    body = b""
    for i, (t, x, y, p) in enumerate(events):
        marked = 1 if valid is None else valid[i]
        body += struct.pack("<II", x << 17 | y << 2 | p << 1 | marked, t)
    return head + body


def aedat3(events, *more_packets):
    header = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#!END-HEADER\r\n"
    return header + aedat3_packet(events) + b"".join(more_packets)


def evt2(events):
    """Prophesee's EVT 2.0: 32-bit words, the upper bits of the time apart (kind 8), then kind 0 or 1, 6 bits, x, y."""
    words, high = [], None
    for t, x, y, p in events:
        if t >> 6 != high:
            high = t >> 6
            words.append(8 << 28 | high)
        words.append(p << 28 | (t & 63) << 22 | x << 11 | y)
    return b"% evt 2.0\n% format EVT2;height=8;width=10\n% end\n" + struct.pack(f"<{len(words)}I", *words)


def aedat4(*packets):
    """AEDAT 4 without compression: a header, then a FlatBuffers table with a vector of events a packet."""
    table, vector = 16, 28  # where the table and its vector begin; the vtable is at 8
    stream = b'<node name="0"><attr key="typeIdentifier" type="string">EVTS</attr></node>'
    info = b'<dv><node name="outInfo">' + stream + b"</node></dv>"
    head = struct.pack("<I4s5H", 24, b"IOHE", 10, 24, 4, 8, 16).ljust(24, b"\0")
    head += struct.pack("<iiqII", 16, 0, -1, 8, 0) + struct.pack("<I", len(info)) + info + b"\0"
    out = b"#!AER-DAT4.0\r\n" + struct.pack("<I", len(head)) + head
    for events in packets:
        body = struct.pack("<I4s3H", table, b"EVTS", 6, 8, 4).ljust(table, b"\0")
        body += struct.pack("<iII", table - 8, vector - table - 4, 0) + struct.pack("<I", len(events))
        body += b"".join(struct.pack("<qhhB3x", *event) for event in events)
        out += struct.pack("<iiI", 0, len(body) + 4, len(body)) + body
    return out


def structured(events):
    return np.array([(t, x, y, p) for t, x, y, p in events], [("t", "i8"), ("x", "u2"), ("y", "u2"), ("p", "i1")])


def write(path, events):
    """Writes events to a file in the format that its name asks for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    match path.suffix:
        case ".bin":
            path.write_bytes(atis_bin(events))
        case ".aedat":
            path.write_bytes(aedat3(events))
        case ".aedat4":
            path.write_bytes(aedat4(events[:2], events[2:]))
        case ".raw":
            path.write_bytes(evt2(events))
        case ".npy":
            np.save(path, structured(events))
        case ".npz":
            table = structured(events)
            np.savez(path, **{name: table[name] for name in "txyp"})
        case ".h5":
            import h5py

            with h5py.File(path, "w") as file:
                for name, column in zip("txyp", np.array(events).T, strict=True):
                    file[f"events/{name}"] = column.astype(np.int64 if name == "t" else np.uint16)
    return path


@pytest.fixture
def encode():
    """The encoders by name."""
    return {"bin": atis_bin, "aedat2": aedat2, "aedat3": aedat3, "packet": aedat3_packet}


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
