"""Scores of detectors and segmenters: mean average precision, and mean intersection over union."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from spikeformers.data.dense.labelled import VOID
from spikeformers.layers.time import time_first


@dataclass(frozen=True)
class BoxScores:
    """Mean average precision in percent, over IoU 0.50 to 0.95 (`map`) and at 0.50 (`map50`), as COCO defines it.

    `mask_map` and `mask_map50` are those of masks, None without. `per_class` has the `map` of each class that is there.
    """

    map: float
    map50: float
    images: int
    kind: str = "images"
    mask_map: float | None = None
    mask_map50: float | None = None
    per_class: dict[str, float] = field(default_factory=dict)

    @property
    def headline(self) -> str:
        """The main numbers, in words."""
        masks = "" if self.mask_map is None else f", of masks {self.mask_map:.2f} % and {self.mask_map50:.2f} %"
        return f"mAP {self.map:.2f} %, mAP50 {self.map50:.2f} %{masks}"

    @property
    def told(self) -> str:
        """All numbers, in words."""
        each = "; ".join(f"{name} {share:.2f} %" for name, share in self.per_class.items())
        return f"{self.headline}, {self.tested_on}; {each}"

    @property
    def tested_on(self) -> str:
        """The number of images."""
        return f"{self.images} {self.kind}"


@dataclass(frozen=True)
class MaskScores:
    """Mean intersection over union of the classes that occur or are predicted, and the share of right pixels; percent.

    A class that is predicted but does not occur counts as 0.
    """

    miou: float
    pixels: float
    images: int
    kind: str = "images"
    per_class: dict[str, float] = field(default_factory=dict)

    headline = property(lambda self: f"mIoU {self.miou:.2f} %", doc="The main number, in words.")
    told = property(lambda self: f"{self.headline}, pixels {self.pixels:.2f} %, {self.tested_on}; {_listed(self)}")
    tested_on = property(lambda self: f"{self.images} {self.kind}", doc="The number of images.")


class BoxMeter(nn.Module):
    """Collects detections and truths, for mean average precision by torchmetrics.

    Args:
        model: A detector.
        per_class: Whether to score each class too.

    Raises:
        ImportError: pycocotools is missing.
    """

    def __init__(self, model: Any, per_class: bool = False):
        super().__init__()
        try:
            import pycocotools  # noqa: F401
        except ImportError:
            raise ImportError('mean average precision needs pycocotools: pip install "spikeformers[dense]"') from None
        from torchmetrics.detection import MeanAveragePrecision

        self.masks = has_masks(model)
        kinds: Any = ("bbox", "segm") if self.masks else "bbox"
        self.metric = MeanAveragePrecision("xyxy", kinds, class_metrics=per_class)
        self.metric.warn_on_many_detections = False
        self.images = 0

    def update(self, model: nn.Module, x: Tensor, targets: Sequence[Any]) -> None:
        """Adds a batch. Images whose target is no dict are not counted."""
        self.images += sum(isinstance(target, dict) for target in targets)
        plain = [self._plain(*pair) for pair in zip(model(x), targets, strict=True)]
        self.metric.update([found for found, _ in plain], [target for _, target in plain])

    def compute(self) -> dict[str, float]:
        """The scores in percent, by name."""
        found = self.metric.compute()
        kinds = {"bbox_": "", "segm_": "mask_"} if self.masks else {"": ""}
        scores = {}
        for theirs, ours in kinds.items():
            scores |= {f"{ours}map": found[f"{theirs}map"], f"{ours}map50": found[f"{theirs}map_50"]}
        return {name: 100 * max(0.0, float(value)) for name, value in scores.items()}  # -1 where there is no box

    def reset(self) -> None:
        self.metric.reset()
        self.images = 0

    def _plain(self, found: dict[str, Tensor], target: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        ours = {key: found[key].detach() for key in ("boxes", "labels", "scores")}
        if self.masks:
            ours["masks"] = found["masks"].bool()
        if not isinstance(target, dict):
            # An image with nothing in it and nothing found changes no score. It stays in the lists all the same:
            # torchmetrics gathers them image by image, so they must be as long in every process.
            ours = {key: value[:0] for key, value in ours.items()}
            kinds = {"boxes": torch.float32, "labels": torch.int64, "masks": torch.bool}  # as data sets have them
            target = {key: value.to(kinds[key]) for key, value in ours.items() if key in kinds}
        elif self.masks:
            target = {**target, "masks": target["masks"].bool()}
        return ours, {"iscrowd": torch.zeros_like(target["labels"], dtype=torch.bool), **target}

    def scores(self, classes: Sequence[str], kind: str) -> BoxScores:
        """What was collected, as `BoxScores`."""
        numbers, found = self.compute(), self.metric.compute()
        shares = found["bbox_map_per_class" if self.masks else "map_per_class"].reshape(-1).tolist()
        there = found["classes"].reshape(-1).tolist()
        each = {str(classes[k]): 100 * share for k, share in zip(there, shares, strict=True) if share >= 0}
        return BoxScores(**numbers, images=self.images, kind=kind, per_class=each)


class MaskMeter(nn.Module):
    """Counts how often each class is taken for each, for mean intersection over union."""

    def __init__(self, model: Any, per_class: bool = False):
        from torchmetrics.classification import MulticlassConfusionMatrix

        super().__init__()
        self.metric = MulticlassConfusionMatrix(model.num_classes, ignore_index=VOID)
        self.images = 0

    def update(self, model: nn.Module, x: Tensor, targets: Tensor) -> None:
        """Adds a batch of masks `[B, H, W]`, or of padding alone, which `collate` leaves without a mask: `[B]`."""
        if targets.ndim == 1:
            return
        self.images += int((targets != VOID).flatten(1).any(1).sum())
        self.metric.update(model(x).argmax(1), targets)

    def compute(self) -> dict[str, float]:
        """The score in percent, by name."""
        return {"miou": 100 * float(self._ious().nanmean())}

    def reset(self) -> None:
        self.metric.reset()
        self.images = 0

    def _ious(self) -> Tensor:
        counts = self.metric.compute().double()
        right = counts.diag()
        return right / (counts.sum(0) + counts.sum(1) - right)  # nan: neither there nor predicted

    def scores(self, classes: Sequence[str], kind: str) -> MaskScores:
        """What was collected, as `MaskScores`."""
        counts, ious = self.metric.compute().double(), self._ious()
        each = {str(classes[k]): 100 * iou for k, iou in enumerate(ious.tolist()) if iou == iou}
        right = 100 * float(counts.diag().sum() / counts.sum())
        return MaskScores(**self.compute(), pixels=right, images=self.images, kind=kind, per_class=each)


METERS: dict[str, Any] = {"detection": BoxMeter, "segmentation": MaskMeter}


@torch.inference_mode()
def evaluate_dense(
    model: Any, batches: Iterable[tuple[Tensor, Any]], classes: Sequence[str], kind: str = "images"
) -> BoxScores | MaskScores:
    """Scores of a detector or a segmenter in eval mode, on its device.

    Args:
        model: The model, or its engine.
        batches: `([B, C, H, W] or [B, T, C, H, W], targets)`, as `spikeformers.data.dense` prepares them.
        classes: The names of its classes.
        kind: What the samples are called.

    Returns:
        The scores.

    Raises:
        ValueError: There is nothing to evaluate on.
        ImportError: pycocotools is missing.
    """
    network = getattr(model, "model", model)  # inside an engine
    device = next(network.parameters()).device
    meter = METERS[network.task](network, per_class=True).to(device)
    model.eval()
    for x, targets in batches:
        meter.update(model, time_first(x.to(device)), to_device(targets, device))
    if not meter.images:
        raise ValueError("there is nothing to evaluate on: the set has no test images")
    return meter.scores(classes, kind)


def to_device(targets: Any, device: torch.device) -> Any:
    """Targets of a batch on a device."""
    if isinstance(targets, Tensor):
        return targets.to(device)
    return [{k: v.to(device) for k, v in one.items()} if isinstance(one, dict) else one for one in targets]


def has_masks(model: Any) -> bool:
    """Whether a detector predicts masks too."""
    return "masks" in getattr(getattr(model, "head", None), "learns_from", ())


def _listed(scores: MaskScores) -> str:
    return "; ".join(f"{name} {share:.2f} %" for name, share in scores.per_class.items())
