"""An exported ONNX file as `Predictor` runs it, by ONNX Runtime alone."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

METADATA = "spikeformers"  # the key of our settings among the file's metadata


class State(NamedTuple):
    """One tensor of what a step keeps: its name, its shape but for the batch, and the value that it begins with."""

    name: str
    shape: list[int]
    dtype: str
    value: float

    def filled(self, batch_size: int) -> np.ndarray:
        """As it is before the first step, `[B, *shape]`."""
        return np.full((batch_size, *self.shape), self.value, self.dtype)


class OnnxModel:
    """`[B, C, H, W]` or `[T, B, C, H, W]` float32 -> logits `[B, K]`, the mean over the steps.

    A file of form `step` runs once a step, one of form `scan` or `whole` once; `whole` has its own number of steps.

    Args:
        path: A file that `sf.deploy.export` wrote.
        threads: How many threads compute.

    Raises:
        FileNotFoundError: There is no such file.
        ImportError: onnxruntime is missing.
        ValueError: The file is no ONNX, or was not exported by spikeformers.
    """

    def __init__(self, path: str | Path, threads: int = 1):
        try:
            import onnxruntime
        except ImportError:
            raise ImportError(f"{path} needs onnxruntime: pip install onnxruntime") from None
        if not Path(path).is_file():
            raise FileNotFoundError(f"there is no {path}: give a file that sf.deploy.export wrote")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # beside a busy process it costs most
        options.log_severity_level = 4
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its errors share no class
            raise ValueError(f"{path} is no ONNX file that onnxruntime {onnxruntime.__version__} runs") from error
        text = self.session.get_modelmeta().custom_metadata_map.get(METADATA)
        if text is None:
            raise ValueError(f"{path} has no settings of spikeformers: export it by spikeformers export")
        self.path, self.settings = Path(path), dict[str, Any](json.loads(text))
        self.time_steps, self.in_channels = self.settings["time_steps"], self.settings["in_channels"]
        self.num_classes = self.settings["num_classes"]
        self.form = self.settings.get("form", "whole")
        self.state = [State(*one) for one in self.settings.get("state", ())]

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        return self.outputs(batch)[0]

    def outputs(self, batch: np.ndarray) -> list[np.ndarray]:
        """Every output of the file; of form `step`, the mean of the logits alone."""
        x = np.asarray(batch, np.float32)
        if self.form != "whole" and x.ndim == 4:
            x = np.broadcast_to(x, (self.time_steps, *x.shape))
        if self.form != "step":
            return [np.asarray(y) for y in self.session.run(None, {"x": np.ascontiguousarray(x)})]
        state, mean = self.initial(x.shape[1]), np.zeros(())
        for frame in x:
            _, mean, state = self.step(frame, state)
        return [mean]

    def initial(self, batch_size: int = 1) -> dict[str, np.ndarray]:
        """What a file of form `step` keeps before the first step, by name, each with the batch on axis 0."""
        return {one.name: one.filled(batch_size) for one in self.state}

    def step(
        self, frame: np.ndarray, state: dict[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """One step of a file of form `step`: `[B, C, H, W], state -> [B, K] logits, [B, K] their mean, state`."""
        logits, mean, *after = self.session.run(None, {"x": np.ascontiguousarray(frame, np.float32), **state})
        return np.asarray(logits), np.asarray(mean), dict(zip(state, map(np.asarray, after), strict=True))


def is_exported(path: str | Path) -> bool:
    """Whether a path is that of an exported ONNX file, by its name."""
    return str(path).lower().endswith(".onnx")
