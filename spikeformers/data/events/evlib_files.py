"""AEDAT 4 and Prophesee's `.raw`, read with evlib: `pip install "spikeformers[events]"`."""

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from .columns import Columns
from .headers import sensor_in

# evlib's polars waits forever in a process that was forked after polars had threads, such as a loading process.
_threads_in: int | None = None  # the process that has them
_decoders: dict[int, subprocess.Popen] = {}  # of processes forked from that one: each has a decoder
_DECODER = """
import pickle, sys
from spikeformers.data.events.evlib_files import decoded

answers, sys.stdout = sys.stdout.buffer, sys.stderr
while True:
    try:
        path = pickle.load(sys.stdin.buffer)
    except EOFError:
        break
    try:
        answer = decoded(path)
    except Exception as error:
        answer = str(error)
    pickle.dump(answer, answers)
    answers.flush()
"""


def read(path: Path) -> Columns:
    """The events of a file. Raises ImportError, naming what to install, if evlib is missing, and what evlib raises."""
    global _threads_in
    try:
        import evlib  # noqa: F401  # tried here, where its absence can be told
    except ImportError as error:
        raise ImportError(f'reading {path} needs evlib: pip install "spikeformers[events]"') from error
    _threads_in = _threads_in or os.getpid()
    t, x, y, p = (decoded if _threads_in == os.getpid() else _decoded_elsewhere)(str(path))
    with path.open("rb") as file:
        return Columns(t, x, y, p, sensor_in(file.read(1 << 16)))


def decoded(path: str) -> list[np.ndarray]:
    """The columns t, x, y and polarity of a file. Raises what evlib raises."""
    import evlib

    columns = evlib.load_events(path, sort=False).collect()
    t, x, y = (columns[name].to_physical().to_numpy().astype(np.int64) for name in "txy")
    return [t, x, y, columns["polarity"].to_numpy()]


def _decoded_elsewhere(path: str) -> list[np.ndarray]:
    """`decoded`, by a process of its own, which ends with this one."""
    if os.getpid() not in _decoders:
        places = os.pathsep.join(filter(None, sys.path))
        _decoders[os.getpid()] = subprocess.Popen(
            [sys.executable, "-c", _DECODER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": places},
            start_new_session=True,  # without a terminal's Ctrl-C: the loading process ends it
        )
    decoder: Any = _decoders[os.getpid()]
    try:
        pickle.dump(path, decoder.stdin)
        decoder.stdin.flush()
        answer = pickle.load(decoder.stdout)
    except (EOFError, OSError) as error:
        raise ValueError(f"the process that decodes it ended with status {decoder.poll()}") from error
    if isinstance(answer, str):
        raise ValueError(answer)
    return answer
