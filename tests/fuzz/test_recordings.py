"""Recordings of every format, whole, damaged and in every coding of their columns, given to `predict`."""

import io

import numpy as np
import pytest
import tiny_recordings
from fuzz_inputs import damaged
from hypothesis import given
from hypothesis import strategies as st

from spikeformers.data.events import read_events, remarks

ENDINGS = (".bin", ".aedat", ".aedat4", ".raw", ".dat", ".es", ".mat", ".txt", ".csv", ".npy", ".npz", ".h5")
ENCODERS = {  # of whole events, beyond the one a file's name asks for
    ".aedat": (tiny_recordings.aedat2, tiny_recordings.aedat3, tiny_recordings.davis),
    ".dat": (tiny_recordings.prophesee_dat, lambda events: tiny_recordings.prophesee_dat(events, version=1)),
    ".es": (tiny_recordings.event_stream, lambda events: tiny_recordings.event_stream(events, atis=True)),
}
EVENTS = st.lists(
    st.tuples(st.integers(0, 4000), st.integers(0, 9), st.integers(0, 7), st.integers(0, 1)), min_size=2, max_size=40
).map(sorted)


@pytest.fixture
def says(ask, knows_recordings, monkeypatch):
    """The labels and confidences for a file, or None where it is refused by its name."""

    def says(file):
        monkeypatch.setattr(remarks, "_logged", remarks.Counter())
        ran = ask("predict", knows_recordings, file, "--json")
        if ran.status == 2:
            assert str(file) in ran.err
            return None
        (row,) = ran.answer
        return {said["label"]: said["confidence"] for said in row["top"]}

    return says


@pytest.mark.quick(40)
def test_predict(tries, says, tmp_path):
    """What is read of a damaged file is what is read of its events in the plainest format."""

    @tries
    @given(ending=st.sampled_from(ENDINGS), events=EVENTS, data=st.data())
    def check(ending, events, data):
        file = tmp_path / f"a{ending}"
        if encoders := ENCODERS.get(ending):
            file.write_bytes(data.draw(st.sampled_from(encoders))(events))
        else:
            tiny_recordings.write(file, events)
        whole = file.read_bytes()
        given = data.draw(damaged(whole))
        file.write_bytes(given)
        said = says(file)
        if given == whole:
            np.savez(tmp_path / "plain.npz", **dict(zip("txyp", np.array(events).T, strict=True)))
            assert said == says(tmp_path / "plain.npz")
        elif said is not None:
            np.savez(tmp_path / "plain.npz", **read_events(file)._asdict())
            assert said == says(tmp_path / "plain.npz")

    check()


POLARITIES = ((0, 1), (-1, 1), (1, 2), (255, 1), (0, 255), (False, True), (0.0, 1.0), (65535, 1), (2**32 - 1, 1))


@pytest.mark.quick(40)
def test_codings_of_columns(tries, says, tmp_path):
    """Seconds or microseconds, from any start, by a clock that goes round, and polarities as any two numbers."""

    @tries
    @given(
        events=EVENTS.filter(lambda events: len({p for *_, p in events}) == 2 and events[0][0] < events[-1][0]),
        start=st.sampled_from((0, 1, 10**9, 2**31 - 2000, 2**32 - 2000, 2**40)),
        unit=st.sampled_from(("us", "us float", "s", "round 2**32", "round 2**31", "round 2**24")),
        polarities=st.sampled_from(POLARITIES),
        order=st.permutations("txyp"),
        spelling=st.sampled_from(("t x y p", "ts x y pol", "timestamp xs ys polarity", "time x y polarities")),
        ending=st.sampled_from((".npz", ".h5", ".mat", ".csv", ".txt")),
        shuffled=st.booleans(),
    )
    def check(events, start, unit, polarities, order, spelling, ending, shuffled):
        t, x, y, p = (np.array(column, np.int64) for column in zip(*events, strict=True))
        np.savez(tmp_path / "plain.npz", t=t, x=x, y=y, p=p)
        wanted = says(tmp_path / "plain.npz")
        given = t + start
        match unit.partition(" "):
            case "us", _, "float":
                given = given.astype(np.float64)
            case "s", _, _:
                given = given / 1e6
            case "round", _, clock:
                shuffled = False  # of a clock that goes round only the order tells the turns
                period = eval(clock)
                given = (t + (period - 2000)) % period
        p = np.array([polarities[k] for k in p])
        columns = dict(zip("txyp", (given, x, y, p), strict=True))
        if shuffled:
            mixed = np.random.default_rng(0).permutation(len(t))
            ties = np.argsort(t[mixed], kind="stable")
            if (mixed[ties] != np.arange(len(t))).any():  # events of one time keep the file's order
                mixed = np.arange(len(t))
            columns = {name: column[mixed] for name, column in columns.items()}
        named = {dict(zip("txyp", spelling.split(), strict=True))[name]: columns[name] for name in order}
        file = tmp_path / f"coded{ending}"
        write_columns(file, named)
        assert says(file) == wanted

    check()


def write_columns(file, columns):
    match file.suffix:
        case ".npz":
            np.savez(file, **columns)
        case ".mat":
            from scipy.io import savemat

            savemat(file, columns)
        case ".h5":
            import h5py

            with h5py.File(file, "w") as opened:
                for name, column in columns.items():
                    opened[f"events/{name}"] = column
        case _:
            text = io.StringIO()
            mark = "," if file.suffix == ".csv" else " "
            text.write(mark.join(columns) + "\n")
            for row in zip(*columns.values(), strict=True):
                text.write(mark.join(repr(float(v)) if isinstance(v, np.floating) else str(int(v)) for v in row) + "\n")
            file.write_text(text.getvalue())
