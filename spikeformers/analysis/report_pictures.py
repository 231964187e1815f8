"""The pictures of a report: curves as SVG, images as PNG."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor
from torch.nn.functional import interpolate

from spikeformers.analysis.anytime import Anytime
from spikeformers.analysis.neuron_activity import NeuronActivity
from spikeformers.analysis.report_kit.figures import (
    AMBER,
    BLUE,
    FONT,
    GREY,
    RED,
    name_axes,
    new_chart,
    save,
    style_axis,
)

_PIXELS = 96  # longer side of a tile in a mosaic
_GAP = 3
_DPI = 96  # one pixel of a picture is one pixel of the page


def draw_depth(activity: Sequence[NeuronActivity], file: Path) -> None:
    """Firing rate, and the shares of silent and saturated neurons, layer by layer."""
    figure, axis = new_chart(2.9)
    depth = range(1, len(activity) + 1)
    axis.plot(depth, [layer.rate for layer in activity], color=BLUE, marker="o", markersize=3, label="firing rate")
    axis.plot(depth, [layer.silent for layer in activity], color=GREY, linestyle="--", label="silent")
    axis.plot(depth, [layer.saturated for layer in activity], color=RED, linestyle=":", label="saturated")
    name_axes(axis, ("neuron layer, counted from the input", depth), ("share", (0, 1)))
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(loc="outside upper center", ncols=3, frameon=False, labelcolor=GREY, fontsize=FONT - 1)
    save(figure, file)


def draw_anytime(answers: Sequence[Anytime], file: Path) -> None:
    """Accuracy, and the energy so far, after each step."""
    figure, axis = new_chart(2.9)
    steps = [answer.steps for answer in answers]
    axis.plot(steps, [answer.top1 for answer in answers], color=BLUE, marker="o", markersize=4, label="accuracy, %")
    name_axes(axis, ("steps", (0, *steps)), ("accuracy, %", [answer.top1 for answer in answers]))
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    cost = axis.twinx()
    cost.plot(steps, [a.millijoules for a in answers], color=AMBER, marker="s", markersize=3, linestyle="--")
    axis.plot([], [], color=AMBER, marker="s", markersize=3, linestyle="--", label="energy so far, mJ")
    cost.set(ylabel="mJ", ylim=(0, None))
    style_axis(cost, "left")
    figure.legend(*axis.get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False,
                  labelcolor=GREY, fontsize=FONT - 1)  # fmt: skip
    save(figure, file)


def draw_raster(spikes: Tensor, file: Path, neurons: int = 96, samples: int = 16) -> tuple[int, int]:
    """Draws spikes `[T, B, ...]` of neurons spread over the layer, for several samples in a row.

    Returns the numbers of drawn neurons and samples.
    """
    spikes = spikes[:, :samples].flatten(2)  # T B neurons
    chosen = torch.linspace(0, spikes.shape[-1] - 1, min(neurons, spikes.shape[-1])).long()
    steps, count = spikes.shape[:2]
    rows = spikes[..., chosen].transpose(0, 1).flatten(0, 1).T.float().numpy()  # neurons, B T
    figure, axis = new_chart(3.2)
    axis.imshow(rows != 0, cmap="Blues", aspect="auto", interpolation="nearest", vmin=0, vmax=1.3)
    for sample in range(1, count):
        axis.axvline(sample * steps - 0.5, color=GREY, linewidth=0.6)
    axis.set_xticks([(i + 0.5) * steps - 0.5 for i in range(count)], [str(i + 1) for i in range(count)])
    axis.set_xlabel(f"sample, {steps} step{'s' * (steps > 1)} each")
    axis.set_ylabel("neuron")
    save(figure, file)
    return len(chosen), count


def draw_input(x: Tensor, file: Path) -> None:
    """The frames of one input, `[T, C, H, W]`, in a row."""
    _mosaic([[_picture(frame) for frame in x]], file, rows="", columns="step" if len(x) > 1 else "")


def draw_maps(x: Tensor, maps: Tensor, file: Path, rows: str = "head") -> None:
    """Maps `[T, M, h, w]` over their frames `[T, C, H, W]`: a row per head, a column per step, with a colour scale."""
    most = float(maps.max())
    frames, heads = [_picture(frame) for frame in x], maps.transpose(0, 1) / (most or 1.0)
    tiles = [[_laid_over(frame, heat) for frame, heat in zip(frames, head, strict=True)] for head in heads]
    _mosaic(tiles, file, rows, "step", most)


def _picture(frame: Tensor) -> np.ndarray:
    """One frame `[C, H, W]` as `[P, Q, 3]` in 0..1: grey, colour, or events in blue and red on white."""
    size = [max(round(_PIXELS * side / max(frame.shape[1:])), 1) for side in frame.shape[1:]]
    frame = interpolate(frame[None].float(), size, mode="nearest")[0]
    if frame.shape[0] == 2:
        off, on = (frame / frame.max().clamp(min=1e-9)).sqrt()
        return torch.stack([1 - off, 1 - (off + on).clamp(max=1), 1 - on], -1).clamp(0, 1).numpy()
    frame = frame[:3] if frame.shape[0] >= 3 else frame.mean(0, keepdim=True).expand(3, -1, -1)
    low, high = frame.min(), frame.max()
    return ((frame - low) / (high - low).clamp(min=1e-9)).permute(1, 2, 0).numpy()


def _laid_over(picture: np.ndarray, heat: Tensor) -> np.ndarray:
    heat = interpolate(heat[None, None].float(), picture.shape[:2], mode="bilinear")[0, 0].clamp(0, 1)
    cover, glow = 0.75 * heat.numpy()[..., None], np.asarray(colormaps["inferno"](0.25 + 0.75 * heat.numpy()))[..., :3]
    pale = 0.55 * picture.mean(-1, keepdims=True) + 0.2
    return pale * (1 - cover) + glow * cover


def _mosaic(
    tiles: Sequence[Sequence[np.ndarray]], file: Path, rows: str, columns: str, most: float | None = None
) -> None:
    """Tiles `[P, Q, 3]` with numbered rows and columns, and a colour scale from 0 to `most`."""
    high, wide = tiles[0][0].shape[:2]
    below, beside = high + _GAP, wide + _GAP
    canvas = np.ones((len(tiles) * below - _GAP, len(tiles[0]) * beside - _GAP, 4))
    canvas[..., 3] = 0  # the gaps are transparent
    for i, row in enumerate(tiles):
        for j, picture in enumerate(row):
            place = canvas[i * below : i * below + high, j * beside : j * beside + wide]
            place[..., :3], place[..., 3] = picture, 1
    height, width = canvas.shape[:2]
    left, above, right = 52 * bool(rows), 20 * bool(columns), 92 * (most is not None)
    figure = Figure(figsize=((left + width + right) / _DPI, (above + height) / _DPI), dpi=_DPI)

    def place_axis(x: int, wide: int, high: int) -> Axes:
        share = (x / figure.bbox.width, (height - high) / figure.bbox.height)
        axis = figure.add_axes((*share, wide / figure.bbox.width, high / figure.bbox.height))
        axis.spines[:].set_visible(False)
        axis.tick_params(length=0, pad=4, labelcolor=GREY, labelsize=FONT)
        return axis

    axis = place_axis(left, width, height)
    axis.imshow(canvas, aspect="auto", interpolation="none")
    axis.xaxis.tick_top()
    for which, name, count, size in ((axis.xaxis, columns, len(tiles[0]), wide), (axis.yaxis, rows, len(tiles), high)):
        numbers = range(count) if name else ()
        which.set_ticks([i * (size + _GAP) + size / 2 for i in numbers], [f"{name} {i + 1}" for i in numbers])
    if most is not None:
        ramp = torch.linspace(1, 0, high)[:, None].expand(-1, 2)
        grey = np.full((high, 2, 3), 0.5)
        scale = place_axis(left + width + 12, 12, high)
        scale.imshow(_laid_over(grey, ramp), aspect="auto", extent=(0, 1, 0, 1))
        scale.yaxis.tick_right()
        scale.set_xticks([])
        scale.set_yticks([0.05, 0.95] if most else [0.05], ["0", f"{most:.4g}"] if most else ["0"])
    save(figure, file, transparent=True, dpi=_DPI)
