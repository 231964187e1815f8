"""Boxes in Pascal VOC's XML: in its own folders, or beside the images of each split."""

from pathlib import Path
from xml.etree import ElementTree

from ..image_file import EXTENSIONS, is_image_name, size_of
from .boxes import Boxes, Flaws
from .labelled import BoxedImages, class_names, say_skipped

_SPLITS = {"train": ("train",), "val": ("val", "valid"), "test": ("test",)}


def is_voc(folder: Path) -> bool:
    """Whether a folder has VOC's `Annotations`, or XML files beside the images of `train`."""
    return (folder / "Annotations").is_dir() or any((folder / "train").glob("[!.]*.xml"))


def read_voc(folder: Path, flaws: Flaws) -> tuple[dict[str, BoxedImages], tuple[str, ...]]:
    """The splits of a folder with VOC's XML, and the class names: those of `classes.txt`, or of the training boxes.

    The folder has `Annotations`, `JPEGImages` and `ImageSets/Main/train.txt`, `val.txt`, `test.txt`; or `train`, `val`
    and `test`, each with images and an XML file of the same name, without which an image has no boxes. Objects marked
    difficult are `crowd`. Raises FileNotFoundError for a missing split, list or image.
    """
    listed = _listed(folder) if (folder / "Annotations").is_dir() else _beside(folder)
    objects = {split: [(image, *_parsed(xml, image, flaws)) for image, xml in items] for split, items in listed.items()}
    classes = class_names(folder)
    if classes is None:
        classes = tuple(sorted({one[0] for _, _, _, found in objects["train"] for one in found}))
    if not classes:
        raise FileNotFoundError(f"{folder} has no boxes for training: annotate some images, or write classes.txt")
    splits = {}
    for split, items in objects.items():
        boxed = []
        for image, xml, size, found in items:
            names, corners, difficult = zip(*found, strict=True) if found else ((), (), ())
            boxed.append(
                (image, flaws.checked(xml, size, corners, names, classes, difficult) if found else Boxes(size))
            )
        splits[split] = BoxedImages(boxed)
    return splits, classes


def _listed(folder: Path) -> dict[str, list[tuple[str, str]]]:
    """The pairs of image and XML file that `ImageSets/Main` lists."""
    listed = {}
    images = {file.stem: file for file in sorted((folder / "JPEGImages").glob("*")) if is_image_name(file)}
    for split in ("train", "val", "test"):
        names = folder / "ImageSets" / "Main" / f"{split}.txt"
        if not names.is_file():
            continue
        listed[split] = []
        for line in names.read_text("utf-8").splitlines():
            if not (words := line.split()):
                continue
            if words[0] not in images:
                raise FileNotFoundError(
                    f"{names} lists {words[0]}, but {folder / 'JPEGImages'} has no image of that name: add it, or "
                    "delete the line"
                )
            listed[split].append((str(images[words[0]]), str(folder / "Annotations" / f"{words[0]}.xml")))
    if "train" not in listed or len(listed) == 1:
        raise FileNotFoundError(
            f"{folder / 'ImageSets' / 'Main'} has no {'train' if 'train' not in listed else 'val or test'}.txt: write "
            "one with the name of an image in each line, without its ending"
        )
    return listed


def _beside(folder: Path) -> dict[str, list[tuple[str, str]]]:
    listed = {}
    for split, names in _SPLITS.items():
        if place := next((folder / name for name in names if (folder / name).is_dir()), None):
            files = sorted(place.glob("[!.]*"))
            images = [file for file in files if is_image_name(file)]
            if not images:
                raise FileNotFoundError(f"{place} holds no image ({' '.join(EXTENSIONS)}): add some, or remove it")
            listed[split] = [(str(file), str(file.with_suffix(".xml"))) for file in images]
            used = {*images, *(file.with_suffix(".xml") for file in images)}
            others = [file for file in files if file not in used and file.is_file()]
            say_skipped(place, others, f"an image ends in {' '.join(EXTENSIONS)}, and its boxes in .xml")
    if len(listed) == 1:
        raise FileNotFoundError(
            f"{folder} has no val or test folder beside train: move some images and XML files there"
        )
    return listed


def _parsed(xml: str, image: str, flaws: Flaws) -> tuple[str, tuple[int, int], list[tuple[str, list[float], bool]]]:
    """The XML file, the image's height and width, and the class, corners and difficulty of each object."""
    if not Path(xml).is_file():
        return xml, _size(image), []
    try:
        root = ElementTree.parse(xml).getroot()
        sides = [int(float(root.findtext(f"size/{side}") or 0)) for side in ("height", "width")]
        found = [
            (
                (one.findtext("name") or "").strip(),
                [float(one.findtext(f"bndbox/{end}") or "") for end in ("xmin", "ymin", "xmax", "ymax")],
                one.findtext("difficult") == "1",
            )
            for one in root.iter("object")
        ]
    except (ElementTree.ParseError, ValueError) as error:
        flaws.broken.append(f"{xml} cannot be read as VOC's XML ({error})")
        return xml, _size(image), []
    return xml, (sides[0], sides[1]) if all(sides) else _size(image), found


def _size(image: str) -> tuple[int, int]:
    width, height = size_of(image)
    return height, width
