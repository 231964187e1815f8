"""Codings of polarity, time and pixels, whatever the file: recognised, put right and said, or refused."""

import logging

import numpy as np
import pytest

from spikeformers.data.events import read_events
from spikeformers.data.events.columns import Columns, to_events

T = [10, 20, 30, 40]
BOTH = [0, 1, 1, 0]


def events_of(t=T, x=(1, 2, 3, 4), y=(4, 3, 2, 1), p=BOTH):
    return to_events(Columns(np.asarray(t), np.asarray(x), np.asarray(y), np.asarray(p)), "a.npz")


# ---- polarity


@pytest.mark.parametrize(
    "coded",
    [
        np.array([0, 1, 1, 0], bool),
        np.array([-1, 1, 1, -1]),
        np.array([-1.0, 1.0, 1.0, -1.0]),
        np.array([1, 2, 2, 1]),
        np.array([-1, 1, 1, -1], np.int8).view(np.uint8),  # 255 and 1
        np.array([-1, 1, 1, -1], np.int32).view(np.uint32),
        np.array([255, 1, 1, 255]),
        np.array([0, 255, 255, 0], np.uint8),
        np.array([-1, 0, 0, -1]),
    ],
)
def test_two_polarities_are_told_apart_whatever_their_code(coded, caplog):
    assert events_of(p=coded).p.tolist() == BOTH
    assert not caplog.text


@pytest.mark.parametrize(("value", "on"), [(0, 0), (-1, 0), (1, 1), (2, 1)])
def test_one_polarity_is_said(value, on, caplog):
    assert events_of(p=[value] * 4).p.tolist() == [on] * 4
    said = f"a.npz: only one polarity (all are {value}, read as {('darker', 'brighter')[on]})"
    assert said in caplog.text


@pytest.mark.parametrize("coded", [[0, 1, 2, 3], [-1, 0, 1, 1]])
def test_more_polarities_are_refused(coded):
    with pytest.raises(ValueError, match=r"its polarities are -?\d, \d, .* save 0 and 1, or -1 and 1"):
        events_of(p=coded)


@pytest.mark.parametrize("ending", [".h5", ".npz", ".npy", ".csv", ".mat"])
def test_signs_are_polarities_in_every_format_that_can_hold_them(tmp_path, ending):
    file, signs = tmp_path / f"a{ending}", np.array([-1, 1, 1, -1])
    columns = {"t": np.array(T), "x": np.arange(4), "y": np.arange(4), "p": signs}
    match ending:
        case ".h5":
            h5py = pytest.importorskip("h5py")
            with h5py.File(file, "w") as opened:
                for name, column in columns.items():
                    opened[f"events/{name}"] = column.astype(np.int8 if name == "p" else np.int64)
        case ".npz":
            np.savez(file, **columns)
        case ".npy":
            np.save(file, np.stack(list(columns.values()), 1))
        case ".csv":
            np.savetxt(file, np.stack(list(columns.values()), 1), "%d", ",", header="t,x,y,p", comments="")
        case ".mat":
            from scipy.io import savemat

            savemat(file, columns)
    assert read_events(file).p.tolist() == BOTH


# ---- time


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_times_with_fractions_are_seconds(dtype, caplog):
    t = events_of(t=np.array([0.000125, 0.5, 1.25, 3.000001], dtype)).t
    assert t.dtype == np.int64 and np.abs(t - [125, 500_000, 1_250_000, 3_000_001]).max() <= 1
    assert "a.npz: read times with fractions as seconds (2.99988 s in all)" in caplog.text


def test_whole_numbers_in_floats_are_microseconds(caplog):
    assert events_of(t=np.array(T, float)).t.tolist() == T and not caplog.text
    assert events_of(t=np.array(T, "m8[us]")).t.tolist() == T
    assert events_of(t=np.array(T, "m8[ms]")).t.tolist() == [1000 * t for t in T]


@pytest.mark.parametrize(
    ("t", "said"),
    [
        ([0.5, np.nan, 1.0, np.inf], "2 of its 4 times are not finite: remove those events"),
        ([0.5, 1e3, 1e5, 1e6], "its times have fractions and span 1e.06: save whole microseconds, or seconds with"),
        (np.array([1, 2, 3, 2**63], np.uint64), "its times reach 9.22337e.18"),
        (["a", "b", "c", "d"], "its times have the type"),
    ],
)
def test_times_that_are_none(t, said):
    with pytest.raises(ValueError, match=said):
        events_of(t=t)


@pytest.mark.parametrize("bits", [24, 31, 32])
def test_a_clock_that_goes_round_is_unwound(bits, caplog):
    t = 2**bits - 200 + np.arange(0, 500_000, 1000)
    events = events_of(t % 2**bits, np.arange(500), np.zeros(500), np.arange(500) % 2)
    assert events.t.tolist() == t.tolist() and events.x.tolist() == list(range(500))
    assert f"a.npz: unwrapped a clock (it wraps around after {2**bits} microseconds, 1 time(s))" in caplog.text


def test_events_out_of_order_about_the_turn_of_the_clock():
    t = 2**32 + np.array([-20, 5, -10, 10, 20])
    events = events_of(t % 2**32, np.arange(5), np.zeros(5), [0, 1, 0, 1, 0])
    assert events.t.tolist() == sorted(t.tolist()) and events.x.tolist() == [0, 2, 1, 3, 4]


def test_a_signed_clock_that_goes_round():
    t = (2**31 - 20 + 10 * np.arange(5)).astype(np.uint32).view(np.int32)
    assert np.diff(events_of(t, np.arange(5), np.zeros(5), [0, 1, 0, 1, 0]).t).tolist() == [10] * 4


def test_aedat2_across_two_to_the_32_ticks(tmp_path, encode):
    rows = [(1000 * k, k // 100, 0, k % 2) for k in range(400)]  # 0.4 s, a quarter in each of four columns
    (tmp_path / "a.aedat").write_bytes(encode["aedat2"]([((2**32 - 200_000 + t) % 2**32, *at) for t, *at in rows]))
    events = read_events(tmp_path / "a.aedat")
    assert events.t[-1] - events.t[0] == 399_000
    assert events.x.tolist() == [x for _, x, _, _ in rows]


def test_a_clock_that_jumps_back_is_told(caplog):
    t = np.concatenate([np.arange(0, 5_000_000, 1000), np.arange(0, 4_900_000, 1000)])
    events = events_of(t, np.zeros(len(t)), np.zeros(len(t)), np.arange(len(t)) % 2)
    assert (np.diff(events.t) >= 0).all()
    assert "the clock jumps back" in caplog.text and "by 4.999 s after event 5000 of 9900" in caplog.text


def test_events_out_of_order_are_sorted_and_counted(caplog):
    events = events_of(t=[30, 10, 20, 10], x=[1, 2, 3, 4], p=[1, 0, 1, 0])
    assert events.t.tolist() == [10, 10, 20, 30] and events.x.tolist() == [2, 4, 3, 1]
    assert "a.npz: sorted events by time (3 of 4 were late, by up to 2e-05 s)" in caplog.text


# ---- pixels, and what is said of many


def test_pixels_are_whole_numbers():
    assert events_of(x=[1.0, 2.0, 3.0, 4.0]).x.dtype == np.int64
    with pytest.raises(ValueError, match=r"its x has fractions, 2.5: round it to pixels"):
        events_of(x=[1, 2.5, 3, 4])
    with pytest.raises(ValueError, match="1 of its 4 y are not finite"):
        events_of(y=[1, np.nan, 3, 4])


def test_of_many_recordings_read_one_by_one_only_a_few_are_named(tmp_path, caplog):
    for i in range(6):
        np.savez(tmp_path / f"{i}.npz", t=[2, 1], x=[0, 0], y=[0, 0], p=[0, 1])
    with caplog.at_level(logging.WARNING):
        for i in range(6):
            read_events(tmp_path / f"{i}.npz")
    assert [i for i in range(6) if f"{i}.npz" in caplog.text] == [0, 1, 2]
    assert "further recordings are not listed" in caplog.text
