"""Recordings in every format, encoded here bit by bit, and not by the code under test."""

import struct

import numpy as np

# t, x, y, p: six events of a sensor of 8 rows and 10 columns, both polarities, one pixel twice.
EVENTS = [(10, 0, 0, 1), (20, 9, 7, 0), (30, 9, 7, 0), (40, 3, 5, 1), (50, 4, 2, 0), (70, 1, 6, 1)]


def atis_bin(events):
    """5 bytes an event, big endian: x, y, and polarity in the top bit of 24 with the time below it."""
    return b"".join(struct.pack(">BB", x, y) + (p << 23 | t).to_bytes(3, "big") for t, x, y, p in events)


def aedat2(events, header=b"#!AER-DAT2.0\r\n# This is a raw AE data file\r\n"):
    """Address and time, big endian: bit 0 is 1 for off, 1-7 count columns from the right, 8-14 rows from the bottom."""
    words = (((127 - y) << 8 | (127 - x) << 1 | (1 - p), t) for t, x, y, p in events)
    return header + b"".join(struct.pack(">II", *pair) for pair in words)


def davis(events):
    """As `aedat2`, of a DAVIS240: bit 11 is 1 for on, 12-21 count columns from the right, 22-30 rows from below."""
    header = b"#!AER-DAT2.0\r\n# AEChip: eu.seebetter.ini.chips.davis.DAVIS240C\r\n"
    words = [((179 - y) << 22 | (239 - x) << 12 | p << 11, t) for t, x, y, p in events]
    frame, signal = (1 << 31 | words[0][0], 5), (words[0][0] | 1 << 10, 5)
    return header + b"".join(struct.pack(">II", *pair) for pair in (frame, *words, signal))


def prophesee_dat(events, *, version=2, size=(10, 8)):
    """Prophesee's .dat: 4 bytes of time, then x, y and polarity in 14, 14 and 4 bits; before version 2 9, 8, 1."""
    header = f"% Data file containing CD events.\n% Version {version}\n% Date 2014-12-12\n"
    header += f"% Height {size[1]}\n% Width {size[0]}\n" if size else ""
    x_bits, y_bits = (14, 14) if version >= 2 else (9, 8)
    words = (struct.pack("<II", t, p << x_bits + y_bits | y << x_bits | x) for t, x, y, p in events)
    return header.encode() + b"\x00\x08" + b"".join(words)


def event_stream(events, *, atis=False, size=(10, 8)):
    """Event Stream 2.0: the time since the last event in 7 bits above polarity, or 6 of an ATIS, x, y from below."""
    out, last = struct.pack("<12s3BBHH", b"Event Stream", 2, 0, 0, 2 if atis else 1, *size), 0
    most = 63 if atis else 127
    for t, x, y, p in events:
        over, rest = divmod(t - last, most)
        out += b"\xff" * over if not atis else b"\xff" * (over // 3) + (bytes([0xFC | over % 3]) if over % 3 else b"")
        out += struct.pack("<BHH", rest << 2 | p << 1 if atis else rest << 1 | p, x, size[1] - 1 - y)
        last = t
    return out


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
        case ".dat":
            path.write_bytes(prophesee_dat(events))
        case ".es":
            path.write_bytes(event_stream(events))
        case ".mat":
            from scipy.io import savemat

            t, x, y, p = np.array(events).T[:, :, None]  # as ASL-DVS has them
            savemat(path, {"ts": t.astype(np.int64), "x": x.astype("u2"), "y": y.astype("u2"), "pol": p.astype("u1")})
        case ".txt":
            path.write_text("".join(f"{t / 1e6:.6f} {x} {y} {p}\n" for t, x, y, p in events))
        case ".csv":
            path.write_text("x,y,polarity,timestamp\n" + "".join(f"{x},{y},{p},{t}\n" for t, x, y, p in events))
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
