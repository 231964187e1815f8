"""Compiling the kernels on first use, with the machine's own compiler, into the user's cache."""

import contextlib
import ctypes
import functools
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

logger = logging.getLogger("spikeformers")

SOURCE = Path(__file__).with_name("kernels.cpp")
FLAGS = ("-O3", "-march=native", "-std=c++17", "-shared", "-fPIC", "-pthread", "-w")
OFF = "SPIKEFORMERS_NO_KERNELS"  # set to 1, everything is computed by torch

_KINDS = {"p": ctypes.c_void_p, "i": ctypes.c_int, "l": ctypes.c_int64, "f": ctypes.c_float}
_ARGUMENTS = {
    "sf_lanes": "",
    "sf_conv": "ppppiiipppppii",
    "sf_depthwise": "pppppppp" + "i",
    "sf_neuron": "pplllpi",
    "sf_max_pool": "pppi",
    "sf_attention": "iiiiii" + "ppp" + "f" + "ppp" + "i",
    "sf_bytes": "plpp",
    "sf_weight_grad": "ppppiiii",
    "sf_lif": "pppi",
    "sf_lif_grad": "ppppppp" + "i",
}
# What the kernels' statuses say.
_STOPPED = {
    1: (MemoryError, "there is not enough memory for the spike kernels: give them fewer images at once"),
    2: (RuntimeError, "the spike kernels cannot start their threads: torch.set_num_threads(1) lets them do without"),
    3: (RuntimeError, f"the spike kernels failed: {OFF}=1 lets torch do their work"),
}


_blocks: set[object] = set()  # of `without_kernels`, those that are on


def kernels() -> ctypes.CDLL | None:
    """The compiled kernels; None while they are off, and where they do not compile, as one log line then says."""
    return None if _blocks or os.environ.get(OFF, "0") not in ("", "0") else found()


@contextlib.contextmanager
def without_kernels() -> Iterator[None]:
    """Lets torch compute everything inside the `with` block, in all threads. Blocks may nest and overlap.

    Exported programs keep their kernels, and products that are made inside never have any.
    """
    block = object()
    _blocks.add(block)
    try:
        yield
    finally:
        _blocks.remove(block)


def in_block() -> bool:
    """Whether a `without_kernels` block is on."""
    return bool(_blocks)


@functools.cache
def found() -> ctypes.CDLL | None:
    """The kernels, compiled once a source, compiler and processor, in a few seconds.

    Processes that begin together each compile, and the last to finish leaves its file.
    """
    try:
        return _loaded(_compiled(_compiler()))
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:  # RuntimeError: an account without a home
        logger.warning("spike kernels are off, and torch does their work: %s", " ".join(str(error).split()))
        return None


def library() -> ctypes.CDLL:
    """The compiled kernels, for what runs only where there are any."""
    loaded = found()
    assert loaded is not None
    return loaded


def _loaded(path: Path) -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(str(path))
        for name, kinds in _ARGUMENTS.items():
            function = getattr(library, name)
            function.argtypes = [_KINDS[kind] for kind in kinds]
            if name != "sf_lanes":
                function.errcheck = _checked  # called behind every call
        if (lanes := library.sf_lanes()) in (4, 8, 16):
            return library
        cause = f"its vectors hold {lanes} numbers"
    except (OSError, AttributeError) as error:  # AttributeError: it lacks a function
        cause = str(error).removeprefix(f"{path}: ")
    raise OSError(f"{path} cannot be loaded ({cause}): delete it, and it is built again")


def _checked(status: int, *_: Any) -> int:
    """Raises what a status other than 0 says: MemoryError or RuntimeError."""
    if status:
        kind, line = _STOPPED[status]
        raise kind(line)
    return status


def _compiler() -> str:
    found = filter(None, map(shutil.which, (os.environ.get("CXX") or "c++", "g++", "clang++")))
    if (compiler := next(found, None)) is None:
        raise OSError("there is no C++ compiler (c++, g++ or clang++): install one, or name it in CXX")
    return compiler


def _library_for(compiler: str) -> Path:
    """Where the library of a compiler lies, made or not: another source, compiler or processor has another name."""
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    key = "\0".join((SOURCE.read_text("utf-8"), compiler, version, *FLAGS, processor()))
    return cache_folder() / f"kernels-{hashlib.sha256(key.encode()).hexdigest()[:20]}.so"


def _compiled(compiler: str) -> Path:
    library = _library_for(compiler)
    if library.is_file():
        return library
    library.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:  # private, and no other process's
        made = Path(folder) / library.name
        run = subprocess.run(
            [compiler, *FLAGS, str(SOURCE), "-o", str(made)], capture_output=True, text=True, timeout=300, check=False
        )
        if run.returncode:
            said = [line for line in run.stderr.splitlines() if "error" in line] or [f"status {run.returncode}"]
            raise OSError(f"{compiler} refused them: {said[0]}")
        made.chmod(0o600)
        made.replace(library)
    return library


def cache_folder() -> Path:
    """Where the compiled kernels lie."""
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "spikeformers"


@functools.cache
def processor() -> str:
    """What the processor is and can do, for telling machines apart."""
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    wanted = ("model name", "flags", "Features", "CPU part")
    return "\n".join(dict.fromkeys(line for line in text.splitlines() if line.startswith(wanted)))
