"""Boxes and masks that are wrong in every way, images for detectors and segmenters, and settings of both."""

import contextlib
import copy
import dataclasses
import io
import json
import math
import shutil
from xml.dom import minidom

import numpy as np
import pytest
import torch
from fuzz_inputs import SIDES, damaged, pictures
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps
from tiny_dense import CLASSES, write_coco, write_gen1, write_masks, write_recipe, write_voc
from torchvision.transforms import functional as F

import spikeformers as sf
from spikeformers.checkpoints.read import read_checkpoint
from spikeformers.data import load_sets
from spikeformers.data.settings import Data
from spikeformers.training import dense_pictures, read_recipe
from spikeformers.training.prepare import prepare
from spikeformers.training.resume import digest_of

ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 60), st.floats(-5, 60), st.text(max_size=4), st.just([]), st.just({}),
    st.sampled_from((2**31, 2**63, -(2**63), 10**400, 1e-9, 1e300, float("nan"), float("inf"), float("-inf"))),
    st.sampled_from(("", "1", "10", " 7 ", "nan", "inf", "1e400", "red", "000.png", "../a.png", "/")),
    st.sampled_from(("\0", "\ud800", "é")),
    st.lists(st.integers(-9, 60) | st.floats(), max_size=6),
)  # fmt: skip
KNOWN = ("red", "green", "blue", "ground")


def places_in(value, path=()):
    """The paths of all that a document of JSON holds."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from places_in(inner, (*path, key))


@st.composite
def documents(draw, document):
    """A document of JSON with up to three values dropped, replaced, doubled or moved."""
    document = copy.deepcopy(document)
    for _ in range(draw(st.integers(0, 3))):
        if not (paths := [*places_in(document)]):
            break
        *path, last = draw(st.sampled_from(paths))
        at = document
        for key in path:
            at = at[key]
        match draw(st.sampled_from(("drop", "set", "set", "set", "double", "swap"))):
            case "drop":
                del at[last]
            case "set":
                at[last] = draw(ODD)
            case "double" if isinstance(at, list):
                at.insert(draw(st.integers(0, len(at))), copy.deepcopy(at[last]))
            case "swap":
                *other, key = draw(st.sampled_from(paths))
                found = document
                for step in (*other, key):
                    found = found[step]
                at[last] = copy.deepcopy(found)
    return document


def text_of(draw, text):
    """A text's bytes, mostly whole and in UTF-8."""
    coding = draw(st.sampled_from(("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1")))
    data = text.encode(coding, "surrogatepass" if coding.startswith("utf") else "replace")
    return draw(damaged(data)) if draw(st.integers(0, 3)) == 0 else data


# ---- what is read


@pytest.fixture
def read(limited, tmp_path):
    """Reads a folder's sets as `train` and `eval` do, to the last item, or gives None where it is refused."""

    def read(folder, size=(32, 48), masks=False, skip=False):
        cache = str(tmp_path / "frames")
        settings = dataclasses.asdict(
            Data(name=str(folder), validation=0, workers=0, cache=cache, skip_broken=skip, frames_by="time")
        )
        try:
            with limited():
                sets = load_sets(settings, seed=0)
                how = sets.preprocess(settings, image_size=size, time_steps=1, **({"masks": True} if masks else {}))
                augment = {"hflip": 0.5, "vflip": 0.5, "scale_jitter": (0.8, 1.25)}
                splits = [
                    sets.augmented(sets.train, how, settings, augment, 0),
                    sets.prepared(sets.validation, how, settings),
                    sets.prepared(sets.test, how, settings),
                ]
                digest_of(sets, settings["name"])
        except (ValueError, OSError) as error:
            text = " ".join(str(error).split())
            assert str(folder) in text and (": " in text or "; " in text), text
            return None
        with limited():
            for split in splits:  # whatever is wrong was told before
                for i in range(len(split)):
                    x, target = split[i]
                    assert x.isfinite().all()
                    if isinstance(target, dict):
                        assert target["boxes"].isfinite().all() and len(target["boxes"]) == len(target["labels"])
                        assert not masks or target["masks"].shape == (len(target["boxes"]), *size)
                        assert (target["boxes"][:, 2:] >= target["boxes"][:, :2]).all()
        return sets

    return read


def read_of(sets, split):
    """What is known of each item of a split: its file's name, and label, x1, y1, x2, y2 of each box in order."""
    items = getattr(sets, split)
    told = {}
    for i in range(len(items)):
        image, boxes = items[i]
        rows = [(sets.classes[k], *corners) for k, corners in zip(boxes.labels, boxes.corners.tolist(), strict=True)]
        told[i] = (image, sorted(rows))
    return told


def cut(x1, y1, x2, y2, width, height):
    """A box, cut at its image, as float32 has it, or None if nothing of it is left."""
    if not all(isinstance(n, int | float) and not isinstance(n, bool) and math.isfinite(n) for n in (x1, y1, x2, y2)):
        return None
    box = tuple(
        float(np.float32(min(max(n, 0), most))) for n, most in ((x1, width), (y1, height), (x2, width), (y2, height))
    )
    return box if box[2] > box[0] and box[3] > box[1] else None


@pytest.mark.quick(6)
def test_coco(tries, read, tmp_path):
    whole = write_coco(tmp_path / "set", {"train": 2, "val": 1, "test": 1})
    files = sorted((whole / "annotations").iterdir())
    plain = {file.name: json.loads(file.read_text()) for file in files}

    @tries
    @given(data=st.data(), masks=st.booleans(), skip=st.booleans())
    def check(data, masks, skip):
        file = data.draw(st.sampled_from(files))
        document = data.draw(documents(plain[file.name]))
        try:
            given = text_of(data.draw, json.dumps(document, ensure_ascii=data.draw(st.booleans())))
            file.write_bytes(given)
            sets = read(whole, masks=masks, skip=skip)
        finally:
            file.write_text(json.dumps(plain[file.name]))
        if sets is None or skip:
            return
        said = json.loads(given.decode("utf-8-sig"))
        split = {"train": "train", "val": "validation", "test": "test"}[file.stem.removeprefix("instances_")[:-4]]
        named = {one["id"]: str(one["name"]) for one in said["categories"]}
        assert len(named) == len(said["categories"]) and len({one["id"] for one in said["images"]}) == len(
            said["images"]
        )
        assert {one["image_id"] for one in said["annotations"]} <= {one["id"] for one in said["images"]}
        found = read_of(sets, split)
        assert len(found) == len(said["images"])
        for i, image in enumerate(said["images"]):
            picture, rows = found[i]
            assert picture.size == (image["width"], image["height"])
            wanted = []
            for one in said["annotations"]:
                if one["image_id"] == image["id"]:
                    x, y, w, h = one["bbox"]
                    assert not any(isinstance(n, str) for n in (x, y, w, h))
                    wanted.append((named[one["category_id"]], *cut(x, y, x + w, y + h, *picture.size)))
            assert rows == sorted(wanted)

    check()


OBJECT = ("name", "difficult", "xmin", "ymin", "xmax", "ymax")


@st.composite
def xmls(draw):
    """VOC's XML of an image of 48 x 32 pixels, mostly with something odd in it."""
    number = (
        st.integers(-3, 60).map(str) | st.floats().map(str) | st.sampled_from(("", " 7 ", "1_0", "nan", "1e400", "x"))
    )
    sides = {"width": "48", "height": "32"}
    if draw(st.integers(0, 4)) == 0:
        sides[draw(st.sampled_from(("width", "height")))] = draw(number | st.sampled_from(("0", "-48", "1e400")))
    objects = ""
    for _ in range(draw(st.integers(0, 3))):
        left, top = draw(st.integers(0, 40)), draw(st.integers(0, 20))
        name = draw(st.sampled_from(CLASSES))
        row = dict(zip(OBJECT, (name, "0", left, top, left + draw(st.integers(1, 9)), top + 9), strict=True))
        if draw(st.booleans()):
            key = draw(st.sampled_from(OBJECT))
            odd = draw(number) if key[0] in "xyd" else draw(st.sampled_from(("", "grue", "&lt;", "é", " red ", "&x;")))
            row[key] = odd
            if draw(st.booleans()):
                del row[key]
        tags = {key: f"<{key}>{value}</{key}>" for key, value in row.items()}
        box = "".join(tags[key] for key in OBJECT[2:] if key in tags)
        objects += f"<object>{tags.get('name', '')}{tags.get('difficult', '')}<bndbox>{box}</bndbox></object>"
    inside = "".join(f"<{key}>{value}</{key}>" for key, value in sides.items())
    coding = draw(st.sampled_from(("", "", "utf-8", "latin-1", "utf-7", "x-none", "utf-16", "big5", "\n")))
    head = f'<?xml version="1.0" encoding="{coding}"?>' if coding else ""
    return f"{head}<annotation><size>{inside}</size>{objects}</annotation>"


@pytest.mark.quick(6)
def test_voc(tries, read, tmp_path):
    folders = {
        beside: write_voc(tmp_path / str(beside), {"train": 4, "val": 1, "test": 1}, beside=beside)
        for beside in (False, True)
    }

    @tries
    @given(data=st.data(), beside=st.booleans(), skip=st.booleans(), text=xmls())
    def check(data, beside, skip, text):
        folder = folders[beside]
        file = folder / "val" / "004.xml" if beside else folder / "Annotations" / "004.xml"
        other = data.draw(
            st.sampled_from(("", "", "", "ImageSets/Main/train.txt", "ImageSets/Main/val.txt", "classes.txt"))
        )
        other = folder / other if other and (other == "classes.txt" or not beside) else None
        before = {one: one.read_bytes() for one in (file, other) if one and one.is_file()}
        try:
            file.write_bytes(given := text_of(data.draw, text))
            if other:
                lines = before.get(other, b"red\ngreen\nblue").decode()
                other.write_bytes(text_of(data.draw, lines))
            sets = read(folder, skip=skip)
        finally:
            for one, whole in before.items():
                one.write_bytes(whole)
            if other and other not in before:
                other.unlink()
        if sets is None or skip or other:
            return
        wanted = []
        for one in minidom.parseString(given).getElementsByTagName("object"):
            row = {
                key: "".join(n.data for tag in one.getElementsByTagName(key)[:1] for n in tag.childNodes)
                for key in OBJECT
            }
            box = cut(*(float(row[key]) for key in OBJECT[2:]), 48, 32)
            wanted.append((row["name"].strip(), *box))
        (found,) = read_of(sets, "validation").values()
        assert found[1] == sorted(wanted)

    check()


@st.composite
def masks_of(draw):
    """A mask file of any mode, 32 x 48 pixels or about that, with its own orientation or none."""
    height, width = draw(st.sampled_from(((32, 48),) * 6 + ((48, 32), (32, 32), (1, 1), (33, 48))))
    most = draw(st.sampled_from((1, 3, 3, 3, 4, 255)))
    seed = draw(st.integers(0, 99))
    image = Image.fromarray(np.random.RandomState(seed).randint(0, most + 1, (height, width)).astype(np.uint8))
    mode = draw(st.sampled_from(("L", "L", "L", "P", "1", "LA", "RGB", "RGBA", "I;16")))
    if mode == "P":
        image.putpalette([n for k in range(256) for n in (k, 255 - k, k)])
    elif mode != "L":
        image = image.convert(mode)
    exif = Image.Exif()
    if turn := draw(st.sampled_from((0, 0, 0, 1, 3, 6, 8, 9))):
        exif[0x0112] = turn
    ending = draw(st.sampled_from(("png", "png", "png", "tif", "bmp", "gif"))) if mode in ("L", "P", "1") else "png"
    file = io.BytesIO()
    image.save(
        file, {"tif": "TIFF"}.get(ending, ending.upper()), **({"exif": exif} if ending in ("png", "tif") else {})
    )
    return ending, draw(damaged(file.getvalue())) if draw(st.integers(0, 2)) == 0 else file.getvalue()


@pytest.mark.quick(6)
def test_masks(tries, read, tmp_path):
    folder = write_masks(tmp_path / "set", counts={"train": 2, "val": 1, "test": 1})
    plain = folder / "val" / "labels" / "002.png"
    whole, listed = plain.read_bytes(), folder / "classes.txt"
    several = "\n".join(map(str, range(300)))

    @tries
    @given(data=st.data(), mask=masks_of(), skip=st.booleans())
    def check(data, mask, skip):
        ending, given = mask
        file = plain.with_suffix(f".{ending}")
        lines = data.draw(st.sampled_from(("\n".join(KNOWN),) * 6 + ("red\ngrün\nblau\nground", "\n", several)))
        try:
            listed.write_bytes(text_of(data.draw, lines))
            plain.unlink()
            file.write_bytes(given)
            sets = read(folder, skip=skip)
            classes = None if sets is None or skip else sets.validation[0][1]
        finally:
            file.unlink(missing_ok=True)
            plain.write_bytes(whole)
        if classes is not None:
            with Image.open(io.BytesIO(given)) as opened:
                values = np.asarray(ImageOps.exif_transpose(opened)).astype(np.uint8)
            assert classes.shape == (32, 48) and np.array_equal(classes, values)

    check()


GEN1 = np.dtype([("ts", "<u8"), *((name, "<f4") for name in "xywh"), ("class_id", "u1"), ("track_id", "<u4")])


@st.composite
def tables(draw):
    """A file of boxes as Gen1 has them, mostly with something odd in it."""
    rows = [(400_000, 100, 50, 40, 30, 0, 0), (400_000, 10, 5, 40, 30, 1, 1), (900_000, 100, 50, 40, 30, 1, 0)]
    kinds = {name: np.dtype(kind).str for name, (kind, _) in GEN1.fields.items()}
    if draw(st.booleans()):
        column = draw(st.sampled_from(list(kinds)))
        kinds[column] = draw(
            st.sampled_from(("<f8", "<f4", "<i8", ">i4", "<u8", "u1", "?", "S4", "U8", "<c8", "<M8[us]", "(2,)<f4"))
        )
        if draw(st.integers(0, 3)) == 0:
            del kinds[column]
        elif draw(st.integers(0, 3)) == 0:
            kinds[draw(st.sampled_from(("t", "ts", "label", "X", "é")))] = kinds.pop(column)
    table = np.zeros(3, [*kinds.items()])
    for i, row in enumerate(rows):
        for name, value in zip(GEN1.names, row, strict=True):
            if name in kinds:
                table[name][i] = np.array(value).astype(table.dtype[name].base)
    for _ in range(draw(st.integers(0, 2))):
        column = draw(st.sampled_from(list(kinds)))
        odd = draw(st.sampled_from((float("nan"), float("inf"), -1, 0, 0.5, 7, 1e30, 2**63 - 1, 2**64 - 1, -(2**63))))
        with np.errstate(all="ignore"), contextlib.suppress(ValueError, OverflowError, TypeError):
            table[column][draw(st.integers(0, 2))] = odd
    table = draw(st.sampled_from((table,) * 6 + (table[:0], table[0], table[:, None], np.stack([table, table]))))
    file = io.BytesIO()
    np.save(file, table)
    return draw(damaged(file.getvalue())) if draw(st.integers(0, 3)) == 0 else file.getvalue()


@pytest.mark.quick(6)
@pytest.mark.filterwarnings("error")
def test_boxes_of_recordings(tries, read, tmp_path):
    folder = write_gen1(tmp_path / "set", (("train", 1), ("val", 1), ("test", 1)))
    file = folder / "val" / "drive0_bbox.npy"

    @tries
    @given(given=tables(), skip=st.booleans())
    def check(given, skip):
        file.write_bytes(given)
        sets = read(folder, skip=skip)
        if sets is None or skip:
            return
        rows = np.load(io.BytesIO(given), allow_pickle=False)
        wanted = {}
        for row in rows.tolist():
            row = dict(zip(rows.dtype.names, row, strict=True))
            t = row["ts"] if "ts" in row else row["t"]
            assert t == int(t) and row["class_id"] == int(row["class_id"])
            box = cut(row["x"], row["y"], row["x"] + row["w"], row["y"] + row["h"], 304, 240)
            assert box and 0 <= row["class_id"] <= 1
            if t >= 250_000:
                wanted.setdefault(int(t), []).append((("car", "pedestrian")[int(row["class_id"])], *box))
        found = {recording.end: rows for recording, rows in read_of(sets, "validation").values()}
        assert found == {t: sorted(rows) for t, rows in wanted.items()}

    check()


# ---- what is found


def untrained(request, kind, folder):
    """A run folder as training would leave it, of a model that has seen nothing."""
    ready = prepare(read_recipe(write_recipe(request, kind, folder)))
    sf.save_pretrained(ready.model.eval(), folder / kind, **ready.settings)
    return folder / kind


@pytest.fixture(scope="session")
def finds(request, tmp_path_factory):
    """Runs of a detector with masks, and of a segmenter."""
    return {kind: untrained(request, kind, tmp_path_factory.mktemp(kind)) for kind in ("outlined", "masked")}


def answers(run, data):
    """A file's width and height, and what the model says of it, by Pillow, torchvision and the model themselves."""
    with Image.open(io.BytesIO(data)) as opened:
        opened.load()
        try:
            upright = ImageOps.exif_transpose(opened)
        except Exception:  # the tags are broken
            upright = opened
        picture = upright.convert("RGB")
    how = read_checkpoint(run).settings["preprocess"]
    factor = min(48 / picture.width, 32 / picture.height)
    wide, high = (max(1, round(side * factor)) for side in picture.size)
    x = F.normalize(F.to_tensor(picture), how["mean"], how["std"])
    x = F.pad(F.resize(x, [high, wide], F.InterpolationMode.BILINEAR, antialias=True), [0, 0, 48 - wide, 32 - high])
    with torch.inference_mode():
        found = sf.from_pretrained(run)(x[None])[0]
    if isinstance(found, dict):
        boxes = found["boxes"] * torch.tensor([picture.width / wide, picture.height / high] * 2)
        boxes = boxes.minimum(torch.tensor(picture.size * 2)).clamp(min=0)
        there = (boxes[:, 2:] - boxes[:, :2]).amin(1) > 0  # others were found in what fills up the input
        return picture.size, boxes[there], found["scores"][there]
    planes = F.resize(found[:, :high, :wide], picture.size[::-1], F.InterpolationMode.BILINEAR, antialias=False)
    return picture.size, planes, None


SIZES = st.tuples(SIDES, SIDES) | st.sampled_from(((1, 1), (1, 9000), (9000, 2), (3, 1), (16_000, 1)))


@pytest.mark.quick(6)
def test_predict(tries, ask, tmp_path, finds):
    """Boxes and masks are of the picture as a viewer shows it."""

    @tries
    @given(picture=pictures(SIZES), kind=st.sampled_from(("outlined", "masked")))
    def check(picture, kind):
        ending, data = picture
        file = tmp_path / f"a.{ending}"
        file.write_bytes(data)
        how = () if kind == "masked" else ("--min-score", 0)
        ran = ask("predict", finds[kind], file, "--json", *how, "--out", "found")
        file.unlink()
        if ran.status == 2:
            assert str(file) in ran.err
            return
        (row,) = ran.answer
        assert [row] == json.loads((tmp_path / "found" / "predictions.json").read_text())
        (width, height), found, scores = answers(finds[kind], data)
        assert (row["width"], row["height"]) == (width, height)
        Image.open(tmp_path / "found" / row["picture"]).load()
        if kind == "outlined":
            said = np.array([one["box"] for one in row["boxes"]]).reshape(-1, 4)
            assert (said >= 0).all() and (said <= (width, height, width, height)).all()
            assert (said[:, 2:] >= said[:, :2]).all()
            assert all(one["pixels"] <= width * height for one in row["boxes"])
            assert [one["score"] for one in row["boxes"]] == pytest.approx(scores.tolist(), abs=1e-5)
            assert said == pytest.approx(found.numpy(), rel=1e-4, abs=1e-3)
        else:
            classes = Image.open(tmp_path / "found" / row["mask"])
            assert classes.size == (width, height) and classes.mode == "L"
            taken = found.gather(0, torch.from_numpy(np.array(classes)).long()[None])[0]
            assert (taken >= found.max(0).values - 1e-4).all()
            assert sum(row["shares"].values()) == pytest.approx(1, abs=1e-4)
        shutil.rmtree(tmp_path / "found")

    check()


# ---- commands on damaged files


@pytest.fixture
def copied(request, tmp_path):
    """Folders with few images of each kind, for a test to damage."""
    few = {"train": 4, "val": 1, "test": 1}
    makers = {"boxed": write_voc, "outlined": write_coco, "masked": write_masks}
    return {kind: make(tmp_path / f"{kind}-set", counts=few) for kind, make in makers.items()}


@pytest.mark.quick(2)
def test_train_and_eval(tries, ask, tmp_path, request, copied, monkeypatch):
    """A run on damaged files is refused before it begins, or ends in scores that `eval` confirms."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0})
    monkeypatch.setattr(dense_pictures, "_save", lambda *_: None)
    monkeypatch.setattr("spikeformers.training.results.draw_curves", lambda *_: None)
    recipes = {
        kind: write_recipe(
            request, kind, tmp_path, data={"name": str(folder), "workers": 0}, epochs=1, schedule={}, out="runs"
        )
        for kind, folder in copied.items()
    }

    @tries
    @given(data=st.data(), kind=st.sampled_from(list(recipes)), skip=st.booleans())
    def check(data, kind, skip):
        files = sorted(one for one in copied[kind].rglob("*") if one.is_file())
        file = data.draw(st.sampled_from(files))
        whole = file.read_bytes()
        file.write_bytes(data.draw(damaged(whole)))
        try:
            ran = ask("train", recipes[kind], "--data.skip_broken", str(skip).lower())
            if ran.status == 2:
                assert not (tmp_path / "runs").exists()
                return
            again = ask("eval", tmp_path / "runs" / kind, "--json", *["--skip-broken"] * skip)
            assert again.status == 0
            saved = json.loads((tmp_path / "runs" / kind / "results.json").read_text())
            assert again.answer == saved["test"]
            shutil.rmtree(tmp_path / "runs")
        finally:
            file.write_bytes(whole)

    check()
