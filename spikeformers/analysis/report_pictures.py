"""The pictures of a report, as files that a paper can take: SVG for curves, PNG for what is made of pixels."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from spikeformers.analysis.anytime import Anytime
from spikeformers.analysis.neuron_activity import NeuronActivity

# Readable on white paper and on a dark screen alike.
GREY, BLUE, RED, AMBER = "#808080", "#3b82c4", "#d1495b", "#d9902f"
_PIXELS = 56  # of a map in a mosaic
_GAP = 3


def draw_depth(activity: Sequence[NeuronActivity], file: Path) -> None:
    """Firing rate, and the shares of silent and saturated neurons, layer by layer."""
    figure, axis = _figure(6.4, 2.6)
    depth = range(1, len(activity) + 1)
    axis.plot(depth, [layer.rate for layer in activity], color=BLUE, marker="o", markersize=3, label="firing rate")
    axis.plot(depth, [layer.silent for layer in activity], color=GREY, linestyle="--", label="silent neurons")
    axis.plot(depth, [layer.saturated for layer in activity], color=RED, linestyle=":", label="saturated neurons")
    axis.set_xlabel("layer of neurons, from the input on")
    axis.set_ylabel("share")
    axis.set_ylim(0, 1)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    _save(figure, axis, file)


def draw_anytime(answers: Sequence[Anytime], file: Path) -> None:
    """Accuracy, and the energy so far, after each step."""
    figure, axis = _figure(6.4, 2.6)
    steps = [answer.steps for answer in answers]
    axis.plot(steps, [answer.top1 for answer in answers], color=BLUE, marker="o", markersize=4, label="accuracy, %")
    axis.set_xlabel("steps")
    axis.set_ylabel("accuracy, %")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    cost = axis.twinx()
    cost.plot(steps, [a.millijoules for a in answers], color=AMBER, marker="s", markersize=3, linestyle="--")
    axis.plot([], [], color=AMBER, marker="s", markersize=3, linestyle="--", label="energy so far, mJ")
    cost.set_ylabel("mJ")
    cost.set_ylim(bottom=0)
    _plain(cost, "left")
    _save(figure, axis, file)


def draw_raster(spikes: Tensor, file: Path, neurons: int = 96, samples: int = 16) -> tuple[int, int]:
    """Spikes `[T, B, ...]` of some neurons, spread over the layer, for some samples, one after another in time.

    Returns how many of each are shown.
    """
    spikes = spikes[:, :samples].flatten(2)  # T B neurons
    shown = torch.linspace(0, spikes.shape[-1] - 1, min(neurons, spikes.shape[-1])).long()
    steps, count = spikes.shape[:2]
    rows = spikes[..., shown].transpose(0, 1).flatten(0, 1).T.float().numpy()  # neurons, B T
    figure, axis = _figure(6.4, 3.2)
    axis.imshow(rows != 0, cmap="Blues", aspect="auto", interpolation="nearest", vmin=0, vmax=1.3)
    for sample in range(1, count):
        axis.axvline(sample * steps - 0.5, color=GREY, linewidth=0.6)
    axis.set_xticks([(i + 0.5) * steps - 0.5 for i in range(count)], [str(i + 1) for i in range(count)])
    axis.set_xlabel(f"sample, {steps} step{'s' * (steps > 1)} each")
    axis.set_ylabel("neuron")
    _save(figure, axis, file, legend=False)
    return len(shown), count


def draw_input(x: Tensor, file: Path) -> None:
    """The frames of one input, `[T, C, H, W]`, in a row."""
    _mosaic([[_picture(frame) for frame in x]], file)


def draw_maps(x: Tensor, maps: Tensor, file: Path) -> None:
    """Maps `[T, M, h, w]` over their frames `[T, C, H, W]`: a row a head, a column a step, the most the brightest."""
    frames, heads = [_picture(frame) for frame in x], maps.transpose(0, 1) / (float(maps.max()) or 1.0)
    _mosaic([[_laid_over(frame, heat) for frame, heat in zip(frames, head, strict=True)] for head in heads], file)


def _picture(frame: Tensor) -> np.ndarray:
    """One frame `[C, H, W]` as `[P, P, 3]` in 0..1: grey, coloured, or events in blue and red on white."""
    frame = interpolate(frame[None].float(), (_PIXELS, _PIXELS), mode="nearest")[0]
    if frame.shape[0] == 2:
        off, on = (frame / frame.max().clamp(min=1e-9)).sqrt()
        return torch.stack([1 - off, 1 - (off + on).clamp(max=1), 1 - on], -1).clamp(0, 1).numpy()
    frame = frame[:3] if frame.shape[0] >= 3 else frame.mean(0, keepdim=True).expand(3, -1, -1)
    low, high = frame.min(), frame.max()
    return ((frame - low) / (high - low).clamp(min=1e-9)).permute(1, 2, 0).numpy()


def _laid_over(picture: np.ndarray, heat: Tensor) -> np.ndarray:
    heat = interpolate(heat[None, None].float(), (_PIXELS, _PIXELS), mode="bilinear")[0, 0].clamp(0, 1)
    cover, glow = 0.75 * heat.numpy()[..., None], np.asarray(colormaps["inferno"](0.25 + 0.75 * heat.numpy()))[..., :3]
    pale = 0.55 * picture.mean(-1, keepdims=True) + 0.2
    return pale * (1 - cover) + glow * cover


def _mosaic(rows: Sequence[Sequence[np.ndarray]], file: Path) -> None:
    side = _PIXELS + _GAP
    canvas = np.ones((len(rows) * side - _GAP, len(rows[0]) * side - _GAP, 4))
    canvas[..., 3] = 0  # the gaps are transparent
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            place = canvas[i * side : i * side + _PIXELS, j * side : j * side + _PIXELS]
            place[..., :3], place[..., 3] = picture, 1
    Image.fromarray((canvas * 255).round().astype(np.uint8)).save(file, optimize=True)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    _plain(axis, "right")
    return figure, axis


def _plain(axis: Axes, without: str) -> None:
    axis.spines[["top", without]].set_visible(False)
    for spine in axis.spines.values():
        spine.set_color(GREY)
    axis.tick_params(colors=GREY)
    axis.xaxis.label.set_color(GREY)
    axis.yaxis.label.set_color(GREY)


def _save(figure: Figure, axis: Axes, file: Path, legend: bool = True) -> None:
    if legend:
        axis.legend(frameon=False, labelcolor=GREY, fontsize=8, loc="best")
    figure.savefig(file, transparent=True, metadata={"Date": None})
