"""Tiny sets with boxes or masks, in the layouts that are read: bright rectangles, a channel per class, on noise."""

import json

import numpy as np
import pytest
from PIL import Image

CLASSES = ("red", "green", "blue")
COUNTS = {"train": 12, "val": 4, "test": 4}


def draw_scene(i, size=(32, 48), crowded=True):
    """Pixels `[H, W, 3]` of image `i`, its boxes `[N, 4]` and labels `[N]`, and classes `[H, W]`, 3 for the ground."""
    rng = np.random.RandomState(i)
    height, width = size
    pixels = rng.randint(0, 60, (height, width, 3)).astype(np.uint8)
    mask = np.full(size, 3, np.uint8)
    boxes, labels = [], []
    for place in range(2 if crowded else 1):
        w, h = rng.randint(8, 16, 2)
        left = place * width // 2 + rng.randint(0, max(1, width // 2 - w))
        top = rng.randint(0, height - h)
        label = (i + place) % 3
        pixels[top : top + h, left : left + w, label] = 255
        mask[top : top + h, left : left + w] = label
        boxes.append([left, top, left + w, top + h])
        labels.append(label)
    return pixels, np.array(boxes, float), labels, mask


def voc_xml(boxes, names, size=(32, 48), difficult=0):
    objects = "".join(
        f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox><xmin>{a:g}</xmin><ymin>{b:g}</ymin>"
        f"<xmax>{c:g}</xmax><ymax>{d:g}</ymax></bndbox></object>"
        for (a, b, c, d), name in zip(boxes, names, strict=True)
    )
    height, width = size
    return f"<annotation><size><width>{width}</width><height>{height}</height></size>{objects}</annotation>"


def write_voc(folder, counts=COUNTS, beside=False):
    start = 0
    for split, count in counts.items():
        names = []
        for i in range(start, start + count):
            pixels, boxes, labels, _ = draw_scene(i)
            image, xml = (folder / split,) * 2 if beside else (folder / "JPEGImages", folder / "Annotations")
            for place in (image, xml):
                place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(image / f"{i:03}.png")
            (xml / f"{i:03}.xml").write_text(voc_xml(boxes, [CLASSES[k] for k in labels]))
            names.append(f"{i:03}")
        if not beside:
            lists = folder / "ImageSets" / "Main"
            lists.mkdir(parents=True, exist_ok=True)
            (lists / f"{split}.txt").write_text("\n".join(names))
        start += count
    return folder


def write_coco(folder, counts=COUNTS, beside=False):
    """COCO's layout, or with `beside` Roboflow's. Categories have the numbers 10, 20 and 30."""
    start = 0
    for split, count in counts.items():
        theirs = {"val": "valid"}.get(split, split) if beside else f"{split}2017"
        (folder / theirs).mkdir(parents=True)
        said = {"images": [], "annotations": [], "categories": []}
        said["categories"] = [{"id": 10 * (k + 1), "name": name} for k, name in enumerate(CLASSES)]
        for i in range(start, start + count):
            pixels, boxes, labels, _ = draw_scene(i)
            Image.fromarray(pixels).save(folder / theirs / f"{i:03}.png")
            said["images"].append({"id": i, "file_name": f"{i:03}.png", "height": 32, "width": 48})
            for (a, b, c, d), label in zip(boxes.tolist(), labels, strict=True):
                outline = [[a, b, c, b, c, d, a, d]]
                said["annotations"].append(
                    {"id": len(said["annotations"]), "image_id": i, "category_id": 10 * (label + 1),
                     "bbox": [a, b, c - a, d - b], "iscrowd": 0, "segmentation": outline}
                )  # fmt: skip
        file = (
            folder / theirs / "_annotations.coco.json"
            if beside
            else folder / "annotations" / f"instances_{theirs}.json"
        )
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(said))
        start += count
    return folder


LAYOUTS = {  # images and masks of a split, and what their names end in
    "plain": ("{}/images", "{}/labels", "", "", {}),
    "segnet": ("{}", "{}annot", "", "", {}),
    "ade20k": ("images/{}", "annotations/{}", "", "", {"train": "training", "val": "validation"}),
    "cityscapes": ("leftImg8bit/{}/bonn", "gtFine/{}/bonn", "_leftImg8bit", "_gtFine_labelIds", {}),
}


def write_masks(folder, layout="plain", counts=COUNTS, values=(0, 1, 2, 3), names=(*CLASSES, "ground")):
    """`values` are what the four classes are in the files; `names` go to `classes.txt`."""
    images, masks, image_end, mask_end, theirs = LAYOUTS[layout]
    start = 0
    for split, count in counts.items():
        places = [folder / place.format(theirs.get(split, split)) for place in (images, masks)]
        for place in places:
            place.mkdir(parents=True)
        for i in range(start, start + count):
            pixels, _, _, mask = draw_scene(i)
            Image.fromarray(pixels).save(places[0] / f"{i:03}{image_end}.png")
            Image.fromarray(np.array(values, np.uint8)[mask]).save(places[1] / f"{i:03}{mask_end}.png")
        start += count
    if names:
        (folder / "classes.txt").write_text("\n".join(names))
    return folder


def write_gen1(folder, counts=(("train", 2), ("val", 1), ("test", 1))):
    """Recordings of one second on 240 x 304 pixels, with a moving car at 0.4, 0.5 and 0.9 s."""
    row = np.dtype([("ts", "<u8"), *((name, "<f4") for name in "xywh"), ("class_id", "u1"), ("track_id", "<u4")])
    rng = np.random.RandomState(0)
    for split, count in counts:
        (folder / split).mkdir(parents=True)
        for i in range(count):
            t = np.sort(rng.randint(0, 1_000_000, 3000))
            x, y = rng.randint(0, 304, 3000), rng.randint(0, 240, 3000)
            np.savez(folder / split / f"drive{i}_td.npz", t=t, x=x, y=y, p=np.arange(3000) % 2)
            times = (100_000, 400_000, 400_000, 500_000, 900_000)  # the first is too early for a sample
            boxes = np.array([(t, 100 + k, 50, 40, 30, k % 2, k) for k, t in enumerate(times)], row)
            np.save(folder / split / f"drive{i}_bbox.npy", boxes)
    return folder


@pytest.fixture(scope="session")
def driven(tmp_path_factory):
    """A folder of recordings with boxes as Gen1 has them."""
    return write_gen1(tmp_path_factory.mktemp("driven") / "set")


@pytest.fixture(scope="session")
def boxed(tmp_path_factory):
    """A folder with boxes as VOC has them."""
    return write_voc(tmp_path_factory.mktemp("boxed") / "set")


@pytest.fixture(scope="session")
def outlined(tmp_path_factory):
    """A folder with boxes and outlines as COCO has them."""
    return write_coco(tmp_path_factory.mktemp("outlined") / "set")


@pytest.fixture(scope="session")
def masked(tmp_path_factory):
    """A folder with masks."""
    return write_masks(tmp_path_factory.mktemp("masked") / "set")


TRUNK = {
    "dims": [16, 32, 64], "depths": [1, 1, 1], "kernel_sizes": [3, 3], "num_heads": 4, "strides": [2, 2],
    "downsampling_strides": [2, 1], "time_steps": 1, "image_size": [32, 48], "neck_dim": 16, "pyramid": [8, 16],
}  # fmt: skip
MODELS = {
    "boxed": {"name": "retinanet_maxformer", "head_depth": 1, "anchor_scale": 1.5, **TRUNK},
    "outlined": {"name": "mask_rcnn_maxformer", "head_dim": 16, "anchor_scale": 1.5, **TRUNK},
    "masked": {"name": "fpn_maxformer", **TRUNK, "pyramid": [4, 8, 16]},
}


AUGMENT = {
    "hflip": 0.5, "vflip": 0.5, "scale_jitter": [0.8, 1.25], "color_jitter": 0.1, "rand_augment": "rand-m5",
}  # fmt: skip


def write_recipe(request, kind, folder, **changes):
    """Writes a recipe of two epochs of three steps for the set of the fixture `kind`, and gives its file."""
    recipe = {
        "model": MODELS[kind],
        "data": {"name": str(request.getfixturevalue(kind)), "workers": 0},
        "augment": AUGMENT,
        "optimizer": {"lr": 0.01, "head_factor": 2.0},
        "schedule": {"per_update": True, "warmup_updates": 2},
        "epochs": 2, "batch_size": 4, "out": str(folder), "run": kind, "profile_every": 0,
    }  # fmt: skip
    file = folder / f"{kind}.yaml"
    file.write_text(json.dumps({**recipe, **changes}))
    return str(file)


@pytest.fixture
def dense_recipe(request, tmp_path):
    """`write_recipe` to the test's own folder."""
    return lambda kind, **changes: write_recipe(request, kind, tmp_path, **changes)
