"""Boxes or masks on images or event recordings, with the checkpoint of a detector or segmenter."""

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from spikeformers.checkpoints.load import build_from
from spikeformers.checkpoints.read import Checkpoint, read_checkpoint
from spikeformers.data.dense.drawing import with_boxes, with_mask
from spikeformers.data.dense.outputs import on_original
from spikeformers.data.dense.transforms import PairTransform
from spikeformers.data.image_file import read_image, upright
from spikeformers.data.inputs import ReadsFiles, file_of, names_of

_TOGETHER = 8  # inputs in a batch
_LENGTH = 250_000  # microseconds of a recording that are seen at once, if its model's settings say nothing


@dataclass(frozen=True)
class Sample:
    """One input of a `DensePredictor`: the model's tensor, what it shows, and the name of its file, or a part of it."""

    name: str
    x: Tensor  # C H W, or T C H W
    picture: Image.Image


@dataclass(frozen=True)
class Found:
    """What was found on one image of height and width `size`, in its pixels.

    `answer` is a dict of `boxes` `[N, 4]` (left, top, right, bottom), `labels` `[N]`, `scores` `[N]` and, if the model
    has them, `masks` `[N, H, W]`, best first; or the class of each pixel `[H, W]`. `classes` names the classes.
    """

    name: str
    size: tuple[int, int]
    answer: Any
    classes: Sequence[str]

    def describe(self) -> dict[str, Any]:
        """As plain JSON types: the boxes, or the share of each class in the pixels."""
        said: dict[str, Any] = {"file": self.name, "height": self.size[0], "width": self.size[1]}
        if isinstance(self.answer, Tensor):
            counts = torch.bincount(self.answer.flatten(), minlength=len(self.classes)) / self.answer.numel()
            shares = zip(self.classes, counts.tolist(), strict=True)
            return {**said, "shares": {name: share for name, share in shares if share}}
        rows = zip(*(self.answer[key].tolist() for key in ("labels", "scores", "boxes")), strict=True)
        boxes = [{"label": self.classes[label], "score": score, "box": box} for label, score, box in rows]
        for box, mask in zip(boxes, self.answer.get("masks", ()), strict=False):
            box["pixels"] = int(mask.sum())
        return {**said, "boxes": boxes}

    def summary(self) -> str:
        """One line: the number of boxes of each class, or the share of each class."""
        if isinstance(self.answer, Tensor):
            shares = sorted(self.describe()["shares"].items(), key=lambda share: -share[1])
            return ", ".join(f"{name} {share:.1%}" for name, share in shares)
        counts = Counter(self.classes[label] for label in self.answer["labels"].tolist())
        return ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "nothing"

    def drawn(self, picture: Image.Image) -> Image.Image:
        """The picture, turned upright, with boxes or masks. Raises ValueError for a picture of another size."""
        picture = upright(picture)
        if (picture.height, picture.width) != self.size:
            raise ValueError(
                f"the picture has {picture.width} x {picture.height} pixels, but {self.name} has {self.size[1]} x "
                f"{self.size[0]}: give the one that was read"
            )
        if isinstance(self.answer, Tensor):
            return with_mask(picture, self.answer, self.classes)
        return with_boxes(picture, self.answer, self.classes)


class DensePredictor(ReadsFiles):
    """A detector or segmenter with the preprocessing and class names of its checkpoint: from files to boxes or masks.

        DensePredictor("runs/bccd")(["smear.jpg"])[0].answer["boxes"]

    Args:
        checkpoint: A run folder, a weight file, or a `Checkpoint` in memory.
        min_score: The lowest score of a box that is returned.
        weights: float32 or int8 to run a `spike_engine`, planned on the first inputs, instead of the model; else None.
        threads: How many threads compute; None means torch's setting.
        **overrides: Arguments for `create_model`, as in `from_pretrained`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: What `from_pretrained` raises, a model for another task, or a `min_score` outside 0..1.
    """

    def __init__(
        self,
        checkpoint: str | Path | Checkpoint,
        *,
        min_score: float = 0.5,
        weights: torch.dtype | None = None,
        threads: int | None = None,
        **overrides: Any,
    ):
        if not 0 <= min_score <= 1:
            raise ValueError(f"min_score {min_score} is not in [0, 1]: 0.5 shows what is likelier than not")
        if not isinstance(checkpoint, Checkpoint):
            checkpoint = read_checkpoint(checkpoint)
        if not is_dense(checkpoint.settings):
            raise ValueError(f"{checkpoint.path} is not a detector or segmenter from a training run: use Predictor")
        self.preprocess: dict[str, Any] = dict(checkpoint.settings["preprocess"])
        self.min_score, self.weights, self.threads = min_score, weights, threads
        self.engine: Any = None
        self.model = build_from(checkpoint, **overrides)
        if "time_steps" in self.preprocess:
            self.preprocess["time_steps"] = self.model.time_steps
        self.classes = names_of(checkpoint.settings, self.model.num_classes, str(checkpoint.path))
        self.transform = PairTransform(**{**self.preprocess, "masks": False})

    def read(self, given: Any) -> list[Sample]:
        """The model's inputs from one image, or from the windows of one recording.

        Args:
            given: A path, a PIL image or a `Recording`.

        Returns:
            One sample, or one for each window.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: It cannot be read.
        """
        if "frames_by" in self.preprocess:
            return self._windows(given)
        if isinstance(given, Image.Image):
            name = getattr(given, "filename", "") or f"the image of {given.width} x {given.height} pixels"
        else:
            given = name = file_of(given, "image", "a PIL image")
        picture = read_image(given, str(name), "RGB", "leave it out, or run predict --skip-broken")
        return [Sample(str(name), self.transform.alone(picture), picture)]

    def __call__(self, inputs: Sequence[Any]) -> list[Found]:
        """Finds boxes or masks.

        Args:
            inputs: Paths, PIL images, or recordings of a data set.

        Returns:
            One `Found` for each image, or for each window of a recording.

        Raises:
            FileNotFoundError: There is no such file.
            TypeError: `inputs` is not a sequence.
            ValueError: An input cannot be read (the message names it), or the answer is not finite.
        """
        if isinstance(inputs, str | Path | Image.Image):
            raise TypeError(f"inputs is a single {type(inputs).__name__}: put it in a list")
        return [found for _, found in self.find(sample for one in inputs for sample in self.read(one))]

    @torch.inference_mode()
    def find(self, samples: Iterator[Sample]) -> Iterator[tuple[Sample, Found]]:
        """Finds boxes or masks in samples of `read`, a few at a time.

        Args:
            samples: The samples.

        Returns:
            Each with what was found.
        """
        samples = iter(samples)
        while some := list(itertools.islice(samples, _TOGETHER)):
            for sample, answer in zip(some, self._answers(torch.stack([one.x for one in some])), strict=True):
                size = (sample.picture.height, sample.picture.width)
                moved = on_original(answer, size, self.preprocess["image_size"], self.min_score)
                yield sample, Found(sample.name, size, moved, self.classes)

    def _answers(self, x: Tensor) -> Any:
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads or before)
        x = x.transpose(0, 1) if x.ndim == 5 else x
        try:
            if self.weights is not None and self.engine is None:
                from spikeformers.deploy.engine import spike_engine  # imports torch's tracer

                self.engine = spike_engine(self.model, x, weights=self.weights)
            answers = (self.engine or self.model)(x)
        finally:
            torch.set_num_threads(before)
        numbers = [answers] if isinstance(answers, Tensor) else [one["scores"] for one in answers]
        if not all(one.isfinite().all() for one in numbers):
            raise ValueError("the model answers with numbers that are not finite: its weights are damaged")
        return answers

    def _windows(self, given: Any) -> list[Sample]:
        from spikeformers.data.events.recording import Recording
        from spikeformers.data.events.sets import EventSets, framing
        from spikeformers.data.events.windows import Window, window_of

        path = None if isinstance(given, Recording) else file_of(given, "recording", "a Recording")
        recording = given if path is None else Recording(str(path))
        how, cut = framing(self.preprocess), window_of(self.preprocess) or Window(_LENGTH, _LENGTH)
        sets = EventSets("", [], [], [], (), 2, how.sensor)
        events = recording.opened()
        samples = []
        for part in cut(recording, events):
            frames = torch.from_numpy(part.framed(how, events).astype(np.float32))
            name = part.path if part.end is None else f"{part.path} at {part.end / 1e6:.3f} s"
            samples.append(Sample(name, self.transform.alone(frames), sets.picture(part, events)))
        return samples


def is_dense(settings: Any) -> bool:
    """Whether the settings of a checkpoint are those of a detector or segmenter from a training run."""
    return "task" in (settings.get("preprocess") or {})
