"""What all exported files share: their settings, and how a batch goes through one. Imports no torch."""

import importlib
import importlib.metadata
import json
import zipfile
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

METADATA = "spikeformers"  # the key of our settings among the file's metadata
_ATTACHED = f"{METADATA}.json"


class State(NamedTuple):
    """One tensor of what a step keeps: its name, its shape but for the batch, and the value that it begins with."""

    name: str
    shape: list[int]
    dtype: str
    value: float

    def filled(self, batch_size: int) -> np.ndarray:
        """As it is before the first step, `[B, *shape]`."""
        return np.full((batch_size, *self.shape), self.value, self.dtype)


class ExportedModel:
    """`[B, C, H, W]` or `[T, B, C, H, W]` float32 -> logits `[B, K]`, the mean over the steps.

    A file of form `step` runs once a step, one of form `scan` or `whole` once; `whole` has its own number of steps.

    Args:
        path: A file that `sf.deploy.export` wrote.
        threads: How many threads compute.

    Raises:
        FileNotFoundError: There is no such file.
        ImportError: The library that runs it is missing.
        ValueError: The file is not of this format, or was not exported by spikeformers.
    """

    kind: ClassVar[str]  # of file
    runtime: ClassVar[str]  # the module that runs it
    package: ClassVar[str]  # and what brings that
    alone: ClassVar[bool] = False  # whether the file takes one sample at a time

    def __init__(self, path: str | Path, threads: int = 1):
        try:
            runtime = importlib.import_module(self.runtime)
        except ImportError:
            raise ImportError(f"{path} needs {self.package}: pip install {self.package}") from None
        if not Path(path).is_file():
            raise FileNotFoundError(f"there is no {path}: give a file that sf.deploy.export wrote")
        try:
            text = self._load(runtime, str(path), threads)
        except Exception as error:  # the errors of these libraries share no class
            by = _with_version(self.package)
            raise ValueError(f"{path} is no {self.kind} file that {by} runs") from error
        if text is None:
            raise ValueError(f"{path} has no settings of spikeformers: export it by spikeformers export")
        self.path, self.settings = Path(path), dict[str, Any](json.loads(text))
        self.time_steps, self.in_channels = self.settings["time_steps"], self.settings["in_channels"]
        self.num_classes = self.settings["num_classes"]
        self.form = self.settings.get("form", "whole")
        self.state = [State(*one) for one in self.settings.get("state", ())]

    def _load(self, runtime: Any, path: str, threads: int) -> str | None:
        """Makes the file ready to run, by its library; gives the settings that it carries, if it has any."""
        raise NotImplementedError

    def _run(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        """The file's outputs, of contiguous, writable inputs: `x`, and the state of a step, in order."""
        raise NotImplementedError

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        return self.outputs(batch)[0]

    def outputs(self, batch: np.ndarray) -> list[np.ndarray]:
        """Every output of a file of form `whole`; of the others, the mean of the logits alone.

        A file that takes one sample at a time gets those of a batch in turn.
        """
        x = np.asarray(batch, np.float32)
        if self.form != "whole" and x.ndim == 4:
            x = np.broadcast_to(x, (self.time_steps, *x.shape))
        axis = 1 if x.ndim == 5 else 0
        parts = np.split(x, x.shape[axis], axis) if self.alone else [x]
        found = [self._sequence(part) for part in parts]
        return found[0] if len(found) == 1 else [np.concatenate(one) for one in zip(*found, strict=True)]

    def _sequence(self, x: np.ndarray) -> list[np.ndarray]:
        if self.form != "step":
            return self._run([np.require(x, requirements=["C", "W"])])[: None if self.form == "whole" else 1]
        state, mean = self.initial(x.shape[1]), np.zeros(())
        for frame in x:
            _, mean, state = self.step(frame, state)
        return [mean]

    def initial(self, batch_size: int = 1) -> dict[str, np.ndarray]:
        """What a file of form `step` keeps before the first step, by name, each with the batch on axis 0."""
        self._check_batch(batch_size)
        return {one.name: one.filled(batch_size) for one in self.state}

    def step(
        self, frame: np.ndarray, state: dict[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """One step of a file of form `step`: `[B, C, H, W], state -> [B, K] logits, [B, K] their mean, state`."""
        self._check_batch(len(frame))
        inputs = [np.require(frame, np.float32, ["C", "W"]), *(state[one.name] for one in self.state)]
        logits, mean, *after = self._run(inputs)
        return logits, mean, {one.name: kept for one, kept in zip(self.state, after, strict=True)}

    def _check_batch(self, batch_size: int) -> None:
        if self.alone and batch_size != 1:
            raise ValueError(
                f"{self.path} takes one sample at a time, not {batch_size}: keep a state for each, or export to onnx"
            )


def attach(path: Path, text: str) -> None:
    """Adds settings at the end of a file as a zip archive, as LiteRT's own metadata are; `unzip` shows them."""
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(_ATTACHED, text)


def attached(path: str | Path) -> str | None:
    """The settings at the end of a file; None if it has none."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read(_ATTACHED).decode()
    except (zipfile.BadZipFile, KeyError):
        return None


def _with_version(package: str) -> str:
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:  # another package brings the module, such as onnxruntime-gpu
        return package
