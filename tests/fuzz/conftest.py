"""The rule that every command keeps, whatever it is given, and two trained models to give things to.

A command ends with status 0 and an answer, or with status 2 and one line. It never ends in a traceback, takes over 60
seconds or 2 GiB, and never leaves a file half-written, or one behind when it failed. `pytest -m slow tests/fuzz` draws
1,000 of each kind; `--hypothesis-seed N` repeats a round.
"""

import contextlib
import io
import json
import resource
import signal
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, Phase, settings
from tiny_recordings import write
from tiny_runs import RECIPE

from spikeformers import cli
from spikeformers.training import fit

SECONDS, BYTES = 60, 2 << 30

settings.register_profile(
    "rule",
    deadline=None,  # the rule has its own
    database=None,
    print_blob=False,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("rule")


def pytest_generate_tests(metafunc):
    """A fuzz takes `tries`: those that its mark says, and 1,000 when run by hand."""
    if mark := metafunc.definition.get_closest_marker("quick"):
        slow = pytest.param(settings(max_examples=1000), marks=[pytest.mark.slow, pytest.mark.timeout(0)], id="slow")
        quick = pytest.param(settings(max_examples=mark.args[0], derandomize=True), id="quick")
        metafunc.parametrize("tries", [quick, slow])


class TooSlow(BaseException):
    """Not an Exception, so that nothing takes it for a fault of the input."""


@contextlib.contextmanager
def limits() -> Iterator[None]:
    """60 seconds, and 2 GiB of addresses more than there are now."""

    def give_up(*_):
        raise TooSlow(f"it takes over {SECONDS} seconds")

    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    handler = signal.signal(signal.SIGALRM, give_up)
    left, _ = signal.setitimer(signal.ITIMER_REAL, SECONDS)
    resource.setrlimit(resource.RLIMIT_AS, (now + BYTES, hard))
    try:
        yield
    except TooSlow as error:
        raise AssertionError(str(error)) from None  # which Hypothesis tells with the example
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, left)


@dataclass
class Ran:
    """One command: its words, how it ended, what it printed, and the files that came to be meanwhile."""

    words: list[str]
    status: int
    out: str
    err: str
    made: set[str]

    @property
    def answer(self):
        """What `--json` printed, of JSON that is none of Python's own dialect."""

        def refuse(constant):
            raise AssertionError(f"{constant} is no JSON: {self}")

        return json.loads(self.out, parse_constant=refuse)


@pytest.fixture
def limited():
    """`limits`, for what is no command."""
    return limits


def files_in(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.fixture
def ask(tmp_path, monkeypatch):
    """Runs a command in `tmp_path`, holds it against the rule, and gives a `Ran`."""
    monkeypatch.chdir(tmp_path)

    def ask(*words, sizes=False):
        """`sizes` says that the words may ask for more than 2 GiB, which is to be told."""
        words = [str(word) for word in words]
        out, err = io.StringIO(), io.StringIO()
        before = files_in(tmp_path)
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            warnings.catch_warnings(record=True) as warned,
            limits(),
            pytest.raises(SystemExit) as left,
        ):
            cli.main(words)
        told = err.getvalue()
        for stage in ("checking every combination\n", "measuring speed and memory, in turns\n"):  # of `compare`
            told = told.removeprefix(stage)
        ran = Ran(words, left.value.code, out.getvalue(), told, files_in(tmp_path) - before)
        assert ran.status in (0, 2), ran
        assert not warned, (str(warned[0]), ran)  # a library's, of two lines, with the path of its source
        assert not any(name.endswith(".unfinished") for name in ran.made), ran
        if ran.status == 2:
            assert ran.err.startswith("spikeformers: "), ran
            assert len(ran.err.removeprefix("spikeformers: ").split("\n")) == 2, ran  # one line, and its end
            assert ran.err.strip() != "spikeformers:", ran
            assert "allocate" not in ran.err, ran
            assert sizes or "not enough memory" not in ran.err, ran
            assert not ran.made, ran
        return ran

    return ask


@pytest.fixture(scope="session")
def knows_pictures(finished):
    """A run that knows three classes of pictures of 16 x 16 pixels."""
    return finished.run


@pytest.fixture(scope="session")
def knows_recordings(tmp_path_factory):
    """A run that knows two classes of recordings of 8 x 10 pixels, by two frames of as many events."""
    folder = tmp_path_factory.mktemp("recordings")
    for split, count in (("train", 6), ("test", 2)):
        for label, kind in enumerate(("left", "right")):
            for i in range(count):
                rows = [(10 * k + 10, 2 + 4 * label, (k + i) % 8, k % 2) for k in range(8)] + [(90, 9, 7, 1)]
                write(folder / "set" / split / kind / f"{i}.bin", rows)
    data = {"name": str(folder / "set"), "validation": 0, "workers": 0, "cache": str(folder / "frames")}
    model = {**RECIPE["model"], "in_channels": 2}
    recipe = folder / "recordings.yaml"
    recipe.write_text(json.dumps({**RECIPE, "model": model, "data": data}))
    return fit(str(recipe), out=str(folder), run="run").run


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
