"""`spikeformers watch`: a model at work, step by step, in the terminal and on a page."""

import importlib
import itertools
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from spikeformers.cli._terminal import live_on, make_parser, make_table, say

_PORT = 8007
_COUNTED_EVERY = 1.0  # seconds; counting operations takes about ten steps


class _Sequence(NamedTuple):
    """Frames that a model sees from a fresh start on, and how many a second."""

    name: str
    frames: Iterator[np.ndarray]
    fps: float


def run(words: list[str]) -> None:
    parser = make_parser(
        "watch SOURCE --model CHECKPOINT",
        "Plays a recording, images or a camera through a model in real time: what comes in, what fires, the answer.",
        "spikeformers watch hand_wave.aedat4 --model runs/gesture",
    )
    parser.add_argument("source", help="a recording, an image, a folder of them, or a camera's number, such as 0")
    parser.add_argument("--model", required=True, help="a run folder, a weight file, or a name with weights")
    parser.add_argument("--fps", type=float, help="frames a second (a recording's own, else 10)")
    parser.add_argument("--loops", type=int, default=1, help="times to play the source; 0 repeats it forever (1)")
    parser.add_argument("--port", type=int, help="port of the page on this machine (8007)")
    parser.add_argument("--no-page", action="store_true", help="in the terminal only")
    asked = parser.parse_args(words)
    if asked.fps is not None and not 0.01 <= asked.fps <= 1000:
        raise ValueError(f"--fps {asked.fps} is not in 0.01 to 1000: give a number such as 10")
    if asked.loops < 0:
        raise ValueError(f"--loops {asked.loops} is below 0: give 1 or more, or 0 to repeat forever")
    if asked.no_page and asked.port is not None:
        raise ValueError("--port sets the page's port, but --no-page turns the page off: leave out one of them")
    port = _PORT if asked.port is None else asked.port
    if not 0 <= port < 65536:
        raise ValueError(f"--port {port} is not a port: give one of 1024 to 65535, or 0 for a free one")
    import torch

    from spikeformers.analysis.watcher import Watcher
    from spikeformers.checkpoints.made_here import made_here
    from spikeformers.deploy.formats import format_of
    from spikeformers.deploy.predict import Predictor
    from spikeformers.deploy.threads import free_threads

    if format_of(asked.model):
        raise ValueError(f"{asked.model} is an exported file, which hides its neurons: give the run it came from")
    torch.set_num_threads(free_threads())
    predictor = Predictor(asked.model, trusted=made_here(asked.model))
    watcher = Watcher(predictor.model, predictor.classes)
    sequences = _sequences(predictor, asked.source, asked.fps)
    loops = itertools.count() if asked.loops == 0 else range(asked.loops)
    with ExitStack() as shown:
        show = [shown.enter_context(_Terminal(sys.stdout))]
        if not asked.no_page:
            from spikeformers.cli._watch_page import Page

            page = shown.enter_context(Page(port))
            say(f"the page is at {page.address}", file=sys.stderr)
            show.append(page.show)
        _play(watcher, (sequence for _ in loops for sequence in sequences()), show)


def _play(watcher: Any, sequences: Iterator[_Sequence], show: list[Callable[..., None]]) -> None:
    """Steps through sequences at their pace, and shows each step."""
    counted = -_COUNTED_EVERY
    cost = None
    for sequence in sequences:
        watcher.begin()
        due = time.monotonic()
        for frame in sequence.frames:
            count = time.monotonic() - counted >= _COUNTED_EVERY
            moment = watcher.see(frame, count=count)
            if count:
                counted, cost = time.monotonic(), (moment.additions, moment.multiplications)
            for one in show:
                one(sequence, moment, cost)
            due = max(due + 1 / sequence.fps, time.monotonic())  # behind time it goes on at once
            time.sleep(max(0.0, due - time.monotonic()))


def _sequences(predictor: Any, source: str, fps: float | None) -> Callable[[], Iterator[_Sequence]]:
    """What plays a source once: each image for the model's steps, each recording's windows, or a camera's frames."""
    steps, events = predictor.model.time_steps, "frames_by" in predictor.preprocess
    if source.isdigit() and not Path(source).exists():
        if events:
            raise ValueError(f"camera {source} gives images, but the model takes recordings: give a recording")
        return lambda: _of_camera(predictor, int(source), steps, fps or 10.0)
    files = predictor.files(source)
    if not Path(files[0]).is_file():
        raise FileNotFoundError(f"there is no {source}: give a recording, an image, a folder, or a camera's number")

    def of_files() -> Iterator[_Sequence]:
        for file in files:
            windows = predictor.read(file)
            own = _rate_of(file, len(windows[0]), predictor.preprocess) if events and fps is None else None
            for window in windows:
                frames = window if window.ndim == 4 else [window] * steps
                yield _Sequence(Path(file).name, iter(frames), fps or own or 10.0)

    return of_files


def _rate_of(file: str, frames: int, preprocess: Mapping[str, Any]) -> float | None:
    """Frames a second at which a recording, or a window of it, took place in `frames` frames; None without times."""
    from spikeformers.data.events.prepared import holds_frames
    from spikeformers.data.events.recording import Recording

    if holds_frames(Path(file)):
        return None
    times = Recording(file).opened().t
    seconds = int(times[-1] - times[0]) / 1e6
    if window := preprocess.get("window"):
        seconds = min(seconds, window[0])
    elif window := preprocess.get("window_events"):
        seconds *= min(1.0, window[0] / len(times))
    return min(1000.0, frames / seconds) if seconds > 0 else None


def _of_camera(predictor: Any, number: int, steps: int, fps: float) -> Iterator[_Sequence]:
    """A camera's frames, one a step; after as many as the model has steps it begins anew."""
    try:
        cv2: Any = importlib.import_module("cv2")  # an extra, which the type checker may lack
    except ImportError as error:
        raise ImportError("a camera needs OpenCV: pip install 'spikeformers[camera]'") from error
    from PIL import Image

    camera = cv2.VideoCapture(number)
    try:
        if not camera.isOpened():
            raise ValueError(f"camera {number} cannot be opened: give another camera's number, or a file")
        while (first := _grabbed(camera, cv2)) is not None:
            rest = (picture for _ in range(steps - 1) if (picture := _grabbed(camera, cv2)) is not None)
            pictures = itertools.chain([first], rest)
            frames = (predictor.read(Image.fromarray(picture))[0] for picture in pictures)
            yield _Sequence(f"camera {number}", frames, fps)
    finally:
        camera.release()


def _grabbed(camera: Any, cv2: Any) -> np.ndarray | None:
    there, picture = camera.read()
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB) if there else None


class _Terminal:
    """Shows steps in a terminal, in place; in a file or a pipe the last step of each sequence, one line each."""

    def __init__(self, file: Any):
        self.file, self.live, self.last = file, None, ""

    def __enter__(self) -> Callable[..., None]:
        if self.file.isatty():
            self.live = live_on(self.file).__enter__()
        return self.show

    def __exit__(self, *error: Any) -> None:
        if self.live:
            self.live.__exit__(*error)
        elif self.last:
            say(self.last, file=self.file)

    def show(self, sequence: _Sequence, moment: Any, cost: Any) -> None:
        label, confidence = moment.top[0]
        line = f"{sequence.name}, step {moment.step}: {label} {confidence:.1%}, {_taken(moment, cost)}"
        if not self.live:
            if moment.step == 1 and self.last:
                say(self.last, file=self.file)
            self.last = line
            return
        table = make_table(line, "firing", right=[1])
        for block, rate in moment.firing.items():
            table.add_row(f"{block:12} {'█' * round(40 * rate)}", f"{rate:.1%}")
        self.live.update(table)


def _taken(moment: Any, cost: tuple[float, float] | None) -> str:
    rate = sum(moment.firing.values()) / max(1, len(moment.firing))
    said = f"{moment.milliseconds:.1f} ms per step, firing {rate:.1%}"
    if cost:
        said += f", {cost[0] / 1e6:.2f} M additions and {cost[1] / 1e6:.2f} M multiplications per step"
    return said
