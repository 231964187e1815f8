"""What a model does at each step of a stream: its answer, who fires, and what the step cost."""

import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from spikeformers.analysis.firing_rate import FiringRates
from spikeformers.analysis.profile import profile
from spikeformers.deploy.stream import Stream, streaming
from spikeformers.models import SpikingTransformer


@dataclass(frozen=True)
class Moment:
    """One step: what came in, what fired, what the model says so far, and what it took."""

    step: int  # from 1, since the model began anew
    frame: np.ndarray  # [C, H, W]
    top: list[tuple[str, float]]  # classes with confidence, by the mean of the logits so far
    firing: dict[str, float]  # share of neurons that fired, by block
    milliseconds: float
    additions: float | None  # and multiplications, by the convention `strict`; None where they were not counted
    multiplications: float | None


class Watcher:
    """Runs a model one frame at a time and tells what it does.

    Args:
        model: A model of ours.
        classes: The names of its classes.

    Raises:
        ValueError: What `sf.deploy.streaming` raises.
    """

    def __init__(self, model: SpikingTransformer, classes: list[str]):
        self.stream, self.classes = streaming(model), classes
        self._once = _Once(self.stream)
        self._firing = FiringRates(self.stream.model)
        self.begin()

    def begin(self) -> None:
        """Begins anew: the next frame is the first step of a recording."""
        self._state, self.steps = None, 0

    def see(self, frame: np.ndarray, *, count: bool = False, top: int = 5) -> Moment:
        """Takes one step.

        Args:
            frame: `[C, H, W]`, prepared as in training.
            count: Whether to count operations, which takes about ten times as long.
            top: How many classes to name.

        Returns:
            What the step showed.
        """
        x = torch.from_numpy(np.ascontiguousarray(frame))[None].to(next(self.stream.parameters()))
        state = self._state or self.stream.initial(1, (x.shape[-2], x.shape[-1]))
        self._firing.clear()
        begun = time.perf_counter()
        with self._firing:
            _, self._state = self.stream(x, state)
        taken = 1e3 * (time.perf_counter() - begun)
        self.steps += 1
        cost = None
        if count:
            self._once.state = state
            cost = profile(self._once, [x]).total("strict")
        shares = self.stream.mean(self._state)[0].float().softmax(-1)
        said = [(self.classes[int(k)], float(shares[k])) for k in shares.argsort(descending=True)[:top]]
        counted = (cost.ac, cost.mac) if cost else (None, None)
        return Moment(self.steps, frame, said, self._firing.by_block(), taken, *counted)


class _Once(nn.Module):
    """A step from a given state, as `profile` calls a model."""

    def __init__(self, stream: Stream):
        super().__init__()
        self.answering, self.state = stream.answering, stream.initial()

    def forward(self, x: Tensor) -> Tensor:
        return self.answering(x, *self.state)[0]
