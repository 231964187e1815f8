"""Pictures of a detector's or segmenter's predictions beside the truth."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.callbacks import Callback
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image
from torch import Tensor

from spikeformers.analysis.report_kit.figures import save
from spikeformers.data.dense.boxes import Boxes
from spikeformers.data.dense.drawing import colors, with_boxes, with_mask
from spikeformers.data.dense.outputs import on_original
from spikeformers.data.eval_shards import NOT_COUNTED, collate
from spikeformers.layers.time import time_first
from spikeformers.training.loaders import Loaders

_LEAST = 0.3  # score of a box that is drawn
_DRAWN = 6


class EpochPictures(Callback):
    """Draws a few validation images with predictions beside the truth after each epoch, `pictures/epoch-003.png`.

    Nothing is drawn for classifiers.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    @rank_zero_only
    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        loaders: Any = getattr(trainer, "datamodule")  # noqa: B009
        model: Any = pl_module.evaluated
        split = next(iter(loaders.evaluated.values()), None)
        if model.task == "classification" or split is None or trainer.sanity_checking:
            return
        epoch = trainer.current_epoch + 1
        places = np.linspace(0, len(split) - 1, min(_DRAWN, len(split))).astype(int).tolist()
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / f"epoch-{epoch:03}.png"
        draw_beside(loaders, model, split, places, file, f"epoch {epoch}, {next(iter(loaders.evaluated))} images")


def draw_beside(loaders: Loaders, model: Any, split: Any, places: Sequence[int], file: Path, title: str) -> list[Any]:
    """Draws items of a prepared split, each with the truth on the left and the prediction on the right, and returns
    them before their transform.
    """
    sets, size, masks = loaders.sets, loaders.preprocess["image_size"], "masks" in loaders.preprocess
    read = [(split[place], split.source(place)) for place in places]
    read = [(made, source) for made, source in read if made[1] is not NOT_COUNTED]
    if not read:
        return []
    x, _ = collate([made for made, _ in read])
    with torch.inference_mode():
        answers = _answers(model, x.to(next(model.parameters()).device).split(loaders.recipe.batch_size))
    rows = []
    for (_, (item, truth)), answer in zip(read, answers, strict=True):
        picture = sets.picture(item)
        whole = (picture.height, picture.width)
        drawn = [
            _drawn(picture, one, sets.classes)
            for one in (_truth(truth, masks), on_original(answer, whole, size, _LEAST))
        ]
        rows.append(drawn)
    _save(rows, sets.classes, file, title)
    return [source for _, source in read]


def _answers(model: Any, batches: Sequence[Tensor]) -> list[Any]:
    return [answer for batch in batches for answer in model(time_first(batch))]


def _truth(label: Any, masks: bool) -> Any:
    """`masks`: whether the model has masks. Another's outlines were not checked, and may be broken."""
    if not isinstance(label, Boxes):
        return torch.from_numpy(np.asarray(label))
    inside = {"masks": torch.from_numpy(label.masks())} if masks else {}
    return {"boxes": torch.from_numpy(label.corners), "labels": torch.from_numpy(label.labels), **inside}


def _drawn(picture: Image.Image, answer: Any, classes: Sequence[str]) -> Image.Image:
    if isinstance(answer, Tensor):
        return with_mask(picture, answer, classes)
    return with_boxes(picture, answer, classes)


def _save(rows: Sequence[Sequence[Image.Image]], legend: Sequence[str], file: Path, title: str) -> None:
    """Two pairs a line, under the names of the columns."""
    across = 2 if len(rows) > 1 else 1
    down = -(-len(rows) // across)
    shape = min(4, rows[0][0].height / rows[0][0].width)
    figure = Figure(figsize=(7 * across, (3.5 * shape + 0.25) * down + 0.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(down, 2 * across, squeeze=False, subplot_kw={"xticks": [], "yticks": []})
    for axis in axes.flat:
        axis.axis("off")
    for place, pair in enumerate(rows):
        for side, (picture, name) in enumerate(zip(pair, ("truth", "prediction"), strict=True)):
            axis = axes[place // across][2 * (place % across) + side]
            axis.imshow(picture)
            axis.set_title(name, fontsize=9)
    if 0 < len(legend) <= 24:
        pairs = zip(colors(len(legend)), legend, strict=True)
        patches = [Patch(color=(red / 255, green / 255, blue / 255), label=name) for (red, green, blue), name in pairs]
        figure.legend(
            handles=patches, loc="outside lower center", ncols=min(8, len(patches)), frameon=False, fontsize=8
        )
    figure.suptitle(title)
    save(figure, file, dpi=100)
