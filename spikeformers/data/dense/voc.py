"""Boxes in Pascal VOC's XML: in its own folders, or beside the images of each split."""

from pathlib import Path
from xml.etree import ElementTree

from ..image_file import EXTENSIONS, is_image_name, size_of
from .boxes import Boxes, Flaws
from .labelled import BoxedImages, class_names, say_skipped, text_of

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
    objects = {
        split: [parsed for image, xml in items if (parsed := _parsed(xml, image, flaws))]
        for split, items in listed.items()
    }
    classes = class_names(folder)
    if classes is None:
        classes = tuple(sorted({one[0] for _, _, _, found in objects["train"] for one in found} - {""}))
    if not classes:
        raise FileNotFoundError(f"{folder} has no boxes for training: annotate some images, or write classes.txt")
    splits = {}
    for split, items in objects.items():
        boxed = []
        known = {name: label for label, name in enumerate(classes)}
        for image, xml, size, found in items:
            names, corners, difficult = zip(*found, strict=True) if found else ((), (), ())
            boxed.append((image, flaws.checked(xml, size, corners, names, known, difficult) if found else Boxes(size)))
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
        for line in text_of(names).splitlines():
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


def _parsed(
    xml: str, image: str, flaws: Flaws
) -> tuple[str, str, tuple[int, int], list[tuple[str, list[float], bool]]] | None:
    """The image and the XML file, the image's height and width, and the class, corners and difficulty of each object.

    None for a file that cannot be read, which is a flaw.
    """
    sides, found = [0, 0], []
    try:
        root = ElementTree.parse(xml).getroot() if Path(xml).is_file() else ElementTree.Element("annotation")
        sides = [int(float(root.findtext(f"size/{side}") or 0)) for side in ("height", "width")]
        if min(sides) < 0:
            raise ValueError(f"a size of {sides[1]} x {sides[0]} pixels")
        found = [
            (
                (one.findtext("name") or "").strip(),
                [float(one.findtext(f"bndbox/{end}") or "") for end in ("xmin", "ymin", "xmax", "ymax")],
                (one.findtext("difficult") or "").strip() == "1",
            )
            for one in root.iter("object")
        ]
    except (ElementTree.ParseError, ValueError, OverflowError, LookupError) as error:  # the last: an unknown encoding
        flaws.broken.append(f"{xml} cannot be read as VOC's XML ({error})")
        return None
    if not all(sides):
        try:
            sides = size_of(image)[::-1]
        except ValueError as error:
            flaws.broken.append(str(error).partition("; ")[0])
            return None
    return image, xml, (sides[0], sides[1]), found
