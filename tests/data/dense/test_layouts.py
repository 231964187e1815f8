"""Folders with boxes or masks: every layout is read alike, and what is wrong in them is named and counted."""

import dataclasses
import json
import logging
import shutil

import numpy as np
import pytest
from PIL import Image
from tiny_dense import CLASSES, COUNTS, draw_scene, voc_xml, write_coco, write_gen1, write_masks, write_voc

from spikeformers.data import load_sets
from spikeformers.data.dense.boxes import Boxes
from spikeformers.data.settings import Data
from spikeformers.training.resume import digest_of

BOXES = {
    "voc": write_voc,
    "voc beside": lambda folder, **how: write_voc(folder, beside=True, **how),
    "coco": write_coco,
    "coco beside": lambda folder, **how: write_coco(folder, beside=True, **how),
}


def load(name, **settings):
    return load_sets(dataclasses.asdict(Data(name=str(name), **{"cache": None, "workers": 0, **settings})), seed=0)


def prepare(sets, size=(32, 48), **settings):
    settings = dataclasses.asdict(Data(**settings))
    return sets.prepared(sets.test, sets.preprocess(settings, image_size=size, time_steps=1), settings)


@pytest.fixture
def voc(boxed, tmp_path):
    return shutil.copytree(boxed, tmp_path / "voc")


@pytest.fixture
def coco(outlined, tmp_path):
    return shutil.copytree(outlined, tmp_path / "coco")


@pytest.fixture
def masks(masked, tmp_path):
    return shutil.copytree(masked, tmp_path / "masks")


# ---- layouts


@pytest.mark.parametrize("layout", BOXES)
def test_every_layout_of_boxes_is_read_alike(tmp_path, layout):
    sets = load(BOXES[layout](tmp_path / "set"))
    assert (sets.task, sets.kind) == ("detection", "images")
    assert [len(split) for split in (sets.train, sets.validation, sets.test)] == [*COUNTS.values()]
    order = sorted(CLASSES) if "voc" in layout else [*CLASSES]  # COCO numbers its classes
    assert [*sets.classes] == order
    for place, i in ((0, 12), (3, 15)):
        pixels, corners, labels, _ = draw_scene(i)
        image, boxes = sets.validation[place]
        assert np.array_equal(np.asarray(image), pixels)
        assert np.array_equal(boxes.corners, corners) and boxes.size == (32, 48)
        assert [order[k] for k in boxes.labels] == [CLASSES[k] for k in labels]


@pytest.mark.parametrize(
    ("layout", "name", "values", "expected"),
    [
        ("plain", None, (0, 1, 2, 255), (0, 1, 2, 255)),
        ("segnet", "camvid", (3, 10, 0, 11), (3, 10, 0, 255)),
        ("ade20k", "ade20k", (1, 150, 7, 0), (0, 149, 6, 255)),
        ("cityscapes", "cityscapes", (7, 33, 26, 5), (0, 18, 13, 255)),
    ],
)
def test_every_layout_of_masks_is_read_alike(tmp_path, layout, name, values, expected):
    folder = write_masks(tmp_path / (name or "own"), layout, values=values, names=() if name else CLASSES)
    sets = load(name or folder, root=str(tmp_path), validation=0.25)
    assert sets.task == "segmentation"
    image, mask = sets.train[0]
    pixels, _, _, drawn = draw_scene(0)
    assert np.array_equal(np.asarray(image), pixels)
    assert np.array_equal(mask, np.array(expected)[drawn])
    assert len(sets.classes) == {None: 3, "camvid": 11, "ade20k": 150, "cityscapes": 19}[name]
    # what has no split for testing is tested on its validation, and a part of training is held out
    two = layout in ("ade20k", "cityscapes")
    assert [len(split) for split in (sets.train, sets.validation, sets.test)] == ([9, 3, 4] if two else [12, 4, 4])


def rename(coco, **names):
    """Names the JSON files of splits, whose images then lie in a folder of the split's name."""
    for split, name in names.items():
        (coco / "annotations" / f"instances_{split}2017.json").rename(coco / "annotations" / f"{name}.json")
        (coco / f"{split}2017").rename(coco / split)
    return coco


@pytest.mark.parametrize(
    "names",
    [
        {"train": "instances_trainval2017", "val": "instances_val2017", "test": "instances_test2017"},
        {"train": "train_val", "val": "validation", "test": "testing"},
        {"train": "train_eval", "val": "eval", "test": "latest_test"},
        {"train": "latest-train", "val": "minival", "test": "test-dev"},
        {"train": "test_lab_train", "val": "test_lab_val", "test": "test_lab_test"},
    ],
)
def test_each_split_is_read_from_its_own_json(coco, names, caplog):
    caplog.set_level(logging.WARNING, "spikeformers")
    (rename(coco, **names) / "annotations" / "image_info_test2017.json").write_text("{}")
    sets = load(coco)
    numbers = [[int(file[-7:-4]) for file in split.paths] for split in (sets.train, sets.validation, sets.test)]
    assert numbers == [[*range(12)], [*range(12, 16)], [*range(16, 20)]] and not caplog.text


@pytest.mark.parametrize(
    "names", [{"train": "trainval", "test": "latest"}, {"train": "train_eval", "test": "image_info_test"}]
)
def test_a_name_that_only_sounds_like_a_split_is_none(coco, names):
    (coco / "annotations" / "instances_val2017.json").unlink()
    with pytest.raises(FileNotFoundError, match=f"no JSON for val or test beside {names['train']}.json"):
        load(rename(coco, **names))


def test_json_that_names_two_splits_is_refused(coco):
    (coco / "annotations" / "instances_test2017.json").unlink()
    with pytest.raises(ValueError, match=r"test_lab_train\.json names both train and test: rename it to one of them$"):
        load(rename(coco, train="test_lab_train", val="test_lab_val"))


def test_folders_with_json_are_of_the_split_that_they_begin_with(tmp_path, caplog):
    caplog.set_level(logging.WARNING, "spikeformers")
    folder = write_coco(tmp_path / "set", beside=True)
    (folder / "train").rename(folder / "trainval")
    sets = load(folder)
    assert [len(split) for split in (sets.train, sets.validation, sets.test)] == [12, 4, 4] and not caplog.text
    (folder / "valid").rename(folder / "my_val")
    (folder / "test").rename(folder / "latest")
    with pytest.raises(FileNotFoundError, match="has no JSON for val or test"):
        load(folder)


def test_the_json_that_is_read_of_several_is_told(coco, caplog):
    caplog.set_level(logging.WARNING, "spikeformers")
    annotations = coco / "annotations"
    for name in ("instances_train2017_small", "captions_train2017"):
        shutil.copy(annotations / "instances_train2017.json", annotations / f"{name}.json")
    load(coco)
    assert caplog.messages == [
        f"reading train of {coco} from annotations/instances_train2017.json, the first of 2 JSON files that name it: "
        "move it away to read the next, annotations/instances_train2017_small.json"
    ]


def test_images_of_two_splits_are_told(voc, caplog):
    caplog.set_level(logging.WARNING, "spikeformers")
    lists = voc / "ImageSets" / "Main"
    (lists / "train.txt").write_text((lists / "train.txt").read_text() + "\n013\n014")
    load(voc)
    (told,) = caplog.messages
    assert told.startswith(f"2 of 4 val images of {voc} are also for training") and "013.png" in told


def test_recordings_with_boxes_become_clips(tmp_path):
    folder = write_gen1(tmp_path / "set")
    sets = load(folder, window=(0.2, 0.15), frames_by="time")
    assert (sets.kind, sets.task, sets.classes) == ("recordings", "detection", ("car", "pedestrian"))
    assert len(sets.train) == 4  # 0.5 s follows 0.4 s too soon
    recording, boxes = sets.train[0]
    assert (recording.start, recording.end) == (200_000, 400_000)
    assert boxes.corners.tolist() == [[101, 50, 141, 80], [102, 50, 142, 80]] and boxes.labels.tolist() == [1, 0]
    settings = dataclasses.asdict(Data(cache=str(tmp_path / "cache"), workers=0, frames_by="time"))
    preprocess = sets.preprocess(settings, image_size=(120, 152), time_steps=3)
    clip, target = sets.prepared(sets.train, preprocess, settings)[0]
    assert clip.shape == (3, 2, 120, 152)
    assert target["boxes"].tolist() == [[50.5, 25, 70.5, 40], [51, 25, 71, 40]]
    assert len(load(folder).train) == 6
    assert sets.picture(recording).size == (304, 240)


def test_hidden_files_are_passed_over_and_others_counted(boxed, outlined, masked, tmp_path, caplog):
    """macOS writes `._a.png` beside `a.png`; an image of a telephone, `.heic`, is one that nobody looks at."""
    folders = {
        "beside": write_voc(tmp_path / "beside", beside=True),
        "voc": shutil.copytree(boxed, tmp_path / "voc"),
        "coco": shutil.copytree(outlined, tmp_path / "coco"),
        "masks": shutil.copytree(masked, tmp_path / "masks"),
        "gen1": write_gen1(tmp_path / "gen1"),
    }
    for folder in folders.values():
        for file in [*folder.rglob("*.*")]:
            file.with_name(f"._{file.name}").write_bytes(b"of macOS")
    caplog.set_level(logging.WARNING, "spikeformers")
    sets = {name: load(folder, frames_by="time") for name, folder in folders.items()}
    assert [len(each.train) for each in sets.values()] == [12, 12, 12, 12, 6]
    assert not caplog.text
    for name in ("a.heic", "a.xml"):
        (folders["beside"] / "train" / name).touch()
    for name in ("images/b.heic", "labels/b.png"):
        (folders["masks"] / "train" / name).touch()
    np.savez(folders["gen1"] / "train" / "c_td.npz", t=[1], x=[1], y=[1], p=[1])
    for name, first, count in (("beside", "a.heic", 2), ("masks", "b.heic", 2), ("gen1", "c_td.npz", 1)):
        caplog.clear()
        assert len(load(folders[name], frames_by="time").train) == len(sets[name].train)
        (told,) = caplog.messages
        assert told.startswith(f"skipped {count} file(s) of {folders[name] / 'train'}") and f"/{first}: " in told


def test_boxes_belong_to_the_recording_of_their_own_name(tmp_path):
    folder = write_gen1(tmp_path / "set")
    for name in ("drive10", "drive1_b", "drive1_"):  # which sort before drive1_td
        shutil.copy(folder / "train" / "drive0_bbox.npy", folder / "train" / f"{name}_bbox.npy")
        shutil.copy(folder / "train" / "drive0_td.npz", folder / "train" / f"{name}_td.npz")
    (folder / "train" / "drive0_td.npz").rename(folder / "train" / "drive0.npz")
    sets = load(folder, validation=0)
    read = {sets.train[i][0].path.rpartition("/")[2] for i in range(len(sets.train))}
    assert read == {"drive0.npz", "drive1_td.npz", "drive10_td.npz", "drive1_b_td.npz", "drive1__td.npz"}


def test_which_is_meant_where_a_folder_has_a_known_sets_name(tmp_path, monkeypatch, caplog):
    write_voc(tmp_path / "data" / "bccd", counts={"train": 4, "test": 2})
    write_voc(tmp_path / "bccd", counts={"train": 6, "test": 2})
    monkeypatch.chdir(tmp_path)
    assert len(load("bccd", validation=0).train) == 4
    assert caplog.messages == ["bccd is the known set of that name; for the folder write ./bccd"]
    caplog.clear()
    assert len(load("./bccd", validation=0).train) == 6
    assert caplog.messages == []


# ---- boxes that are wrong

WRONG = {
    "no area": ([10, 5, 10, 20], "red", r"box 3, from \(10, 5\) to \(10, 20\), has no area"),
    "turned": ([20, 5, 10, 20], "red", "has no area"),
    "not a number": ([float("nan"), 5, 10, 20], "red", "has no area"),
    "outside": ([60, 5, 70, 20], "red", "lies outside the image of 48 x 32 pixels"),
    "before": ([-9, 5, -1, 20], "red", "lies outside the image of 48 x 32 pixels"),
    "another class": ([1, 1, 9, 9], "grue", "is of the class 'grue', which is none of blue, green, red"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_broken_boxes_are_named_counted_and_left_out_on_request(voc, fault, caplog):
    box, name, said = WRONG[fault]
    for i in (13, 14):
        _, corners, labels, _ = draw_scene(i)
        xml = voc_xml([*corners, box], [*(CLASSES[k] for k in labels), name])
        (voc / "Annotations" / f"{i:03}.xml").write_text(xml)
    with pytest.raises(ValueError, match=rf"/013\.xml: .*{said}, and 1 more of 42 boxes .*--data\.skip_broken true"):
        load(voc)
    caplog.set_level(logging.WARNING, "spikeformers")
    sets = load(voc, skip_broken=True)
    assert "skipped 2 broken annotation(s) of 42 boxes" in caplog.text and "013.xml" in caplog.text
    assert [len(boxes) for boxes in (sets.validation[i][1] for i in range(4))] == [2, 2, 2, 2]


def test_coco_boxes_pass_the_same_check(coco):
    file = coco / "annotations" / "instances_test2017.json"
    said = json.loads(file.read_text())
    for number, change in enumerate(({"bbox": [5, 5, 0, 9]}, {"category_id": 7}, {"image_id": 999})):
        said["annotations"][number] |= change
    file.write_text(json.dumps(said))
    with pytest.raises(ValueError, match=r"test2017\.json: image 999 has boxes and is not listed, and 2 more of"):
        load(coco)
    assert len(load(coco, skip_broken=True).test[0][1]) == 0


def test_boxes_across_the_border_are_cut(voc, caplog):
    caplog.set_level(logging.WARNING, "spikeformers")
    (voc / "Annotations" / "012.xml").write_text(voc_xml([[-5, 10, 20, 40]], ["red"]))
    assert load(voc).validation[0][1].corners.tolist() == [[0, 10, 20, 32]]
    assert "cut 1 of 39 boxes" in caplog.text and "012.xml: box 1, from (-5, 10) to (20, 40)" in caplog.text


def test_images_without_boxes_are_counted_and_left_out_on_request(voc, caplog):
    caplog.set_level(logging.WARNING, "spikeformers")
    (voc / "Annotations" / "003.xml").write_text(voc_xml([], []))
    sets = load(voc)
    assert "1 of 12 train items" in caplog.text and "003.png" in caplog.text and "skip_empty true" in caplog.text
    assert len(sets.train) == 12 and len(sets.train[3][1]) == 0
    assert len(load(voc, skip_empty=True).train) == 11


def test_an_image_beside_which_no_xml_lies_has_no_boxes(tmp_path):
    folder = write_voc(tmp_path / "set", beside=True)
    (folder / "train" / "001.xml").unlink()
    assert len(load(folder).train[1][1]) == 0


def test_difficult_and_crowd_boxes_are_not_trained_on(voc):
    _, corners, labels, _ = draw_scene(0)
    (voc / "Annotations" / "000.xml").write_text(voc_xml(corners, [CLASSES[k] for k in labels], difficult=1))
    sets, settings = load(voc), dataclasses.asdict(Data())
    preprocess = sets.preprocess(settings, image_size=(32, 48), time_steps=1)
    assert len(sets.augmented(sets.train, preprocess, settings, {}, 0)[0][1]["boxes"]) == 0
    assert sets.prepared(sets.train, preprocess, settings)[0][1]["iscrowd"].tolist() == [True, True]


def test_a_class_without_training_boxes_is_told(coco, caplog):
    caplog.set_level(logging.WARNING, "spikeformers")
    for file in (coco / "annotations").iterdir():
        said = json.loads(file.read_text())
        said["categories"].append({"id": 99, "name": "ultraviolet"})
        file.write_text(json.dumps(said))
    assert load(coco).classes == (*CLASSES, "ultraviolet")
    assert "no training box of 1 of its 4 classes, the first is ultraviolet" in caplog.text


# ---- files that are wrong


def test_other_categories_in_another_split_are_refused(coco):
    file = coco / "annotations" / "instances_val2017.json"
    said = json.loads(file.read_text())
    said["categories"][1]["name"] = "grue"
    file.write_text(json.dumps(said))
    with pytest.raises(ValueError, match=r"val2017\.json has other categories than .*: green, grue; give both"):
        load(coco)


def change_mask(folder, change):
    file = folder / "train" / "labels" / "002.png"
    Image.fromarray(change(np.asarray(Image.open(file)).copy())).save(file)


MASKS = {
    "another size": (lambda mask: mask[:, :40], r"labels/002\.png has 40 x 32 pixels, but its image has 48 x 32"),
    "a value": (lambda mask: mask + 8, r"labels/002\.png has the value 1\d, but there are 4 classes"),
    "colours": (lambda mask: np.stack([mask] * 3, -1), r"labels/002\.png has mode RGB: save masks as class numbers"),
    "16 bits": (lambda mask: mask.astype(np.uint16), r"labels/002\.png has mode I;16"),
}


@pytest.mark.parametrize("fault", MASKS)
def test_broken_masks_are_named_before_training_and_left_out_on_request(masks, fault, caplog):
    change, said = MASKS[fault]
    change_mask(masks, change)
    sets, settings = load(masks), dataclasses.asdict(Data())
    preprocess = sets.preprocess(settings, image_size=(32, 48), time_steps=1)
    with pytest.raises(ValueError, match=said) as refused:
        sets.augmented(sets.train, preprocess, settings, {}, 0)
    assert "\n" not in str(refused.value) and "; " in str(refused.value)
    caplog.set_level(logging.WARNING, "spikeformers")
    assert len(load(masks, skip_broken=True).train) == 11
    assert "skipped 1 broken image file(s)" in caplog.text


def test_a_value_can_be_void(masks):
    assert set(np.unique(load(masks, void=3).train[0][1])) == {0, 1, 255}
    change_mask(masks, lambda mask: mask + np.uint8(40) * (mask == 3))
    assert set(np.unique(load(masks, void=43).train[2][1])) == {*np.unique(draw_scene(2)[3])} - {3} | {255}


def test_an_image_of_another_size_than_its_boxes_are_for(voc):
    Image.new("RGB", (40, 32)).save(voc / "JPEGImages" / "017.png")
    with pytest.raises(ValueError, match=r"017\.png has 40 x 32 pixels, but its boxes are for 48 x 32; replace"):
        prepare(load(voc))
    assert len(load(voc, skip_broken=True).test) == 3


def unlink(*path):
    return lambda folder: folder.joinpath(*path).unlink()


def write(path, text, coding="utf-8"):
    return lambda folder: (folder / path).write_text(text, coding)


FILES = [
    ("voc", unlink("JPEGImages", "004.png"), r"train\.txt lists 004, but .*JPEGImages has no image of that name"),
    ("voc", unlink("ImageSets", "Main", "train.txt"), r"ImageSets/Main has no train\.txt: write one with the name"),
    ("voc", lambda f: (f / "Annotations" / "004.xml").write_text("<an"), r"004\.xml cannot be read as VOC's XML"),
    ("voc", lambda f: (f / "classes.txt").write_text("red\nred\n"), r"classes\.txt names no class, or one twice"),
    ("coco", lambda f: shutil.rmtree(f / "val2017"), r"val2017\.json lists 012\.png, which is not in .*val2017"),
    ("coco", lambda f: (f / "annotations" / "instances_val2017.json").write_text("["), "is not valid JSON"),
    ("coco", lambda f: (f / "annotations" / "instances_val2017.json").write_text("{}"), "has no list of images"),
    ("masks", unlink("val", "labels", "013.png"), r"images/013\.png has no mask of the same name in .*val/labels"),
    ("masks", unlink("classes.txt"), r"has no classes\.txt: write one, with a class in each line"),
    ("masks", write("classes.txt", "r\u00f6t", "latin-1"), r"classes\.txt is not UTF-8 text \("),
    ("masks", write("classes.txt", "\n".join(map(str, range(256)))), r"has 256 classes, more than a mask of 8 bits"),
    ("voc", write("ImageSets/Main/val.txt", "012\n", "utf-16"), r"Main/val\.txt is not UTF-8 text"),
    (
        "voc",
        write("Annotations/004.xml", '<?xml version="1.0" encoding="x-none"?><a/>'),
        r"004\.xml cannot be read as VOC",
    ),
    (
        "voc",
        write("Annotations/004.xml", "<a><size><width>1e400</width></size></a>"),
        r"004\.xml cannot be read as VOC",
    ),
    ("voc", write("Annotations/004.xml", "<a><size><width>-48</width></size></a>"), r"a size of -48 x 0 pixels"),
    ("voc", write("Annotations/004.xml", voc_xml([[1, 1, 9, 9]], [""])), r"004\.xml: box 1, .* is of the class ''"),
    ("coco", write("annotations/instances_val2017.json", "{}", "utf-16"), r"val2017\.json is not UTF-8 text"),
    (
        "coco",
        write("annotations/instances_val2017.json", "[" * 99_999),
        r"val2017\.json has brackets nested too deeply",
    ),
]


@pytest.mark.parametrize(("kind", "break_it", "said"), FILES)
def test_missing_and_unreadable_files_are_told_in_one_line(request, kind, break_it, said):
    folder = request.getfixturevalue(kind)
    break_it(folder)
    with pytest.raises((ValueError, OSError), match=said) as refused:
        load(folder)
    assert "\n" not in str(refused.value)


COCO = {  # a list of the JSON, what is changed in its first entry, and what is said of it
    "a box of words": ("annotations", {"bbox": ["1", "2", "3", "4"]}, "box 1, .* has no area"),
    "a box of two numbers": ("annotations", {"bbox": [1, 2]}, "box 1, .* has no area"),
    "a box beyond floats": ("annotations", {"bbox": [1, 2, 10**400, 4]}, "box 1, .* has no area"),
    "crowd as a word": ("annotations", {"iscrowd": "no"}, "iscrowd is 'no', which is neither 0 nor 1"),
    "a category as a list": (
        "annotations",
        {"category_id": [10]},
        r"is of the class \[10\], which is none of 10, 20, 30",
    ),
    "an image as a word": ("annotations", {"image_id": "16"}, "image '16' has boxes and is not listed"),
    "an image as a list": ("annotations", {"image_id": []}, "differs from COCO's instances"),
    "a height as a word": ("images", {"height": "32"}, "48 x '32' is no size in pixels"),
    "a height of nothing": ("images", {"height": 0}, "48 x 0 is no size in pixels"),
    "an id twice": ("images", {"id": 17}, "lists two images with the id 17"),
    "a name that none can be": ("images", {"file_name": "a\0.png"}, r"with the file_name 'a\\x00\.png': give"),
    "a number for a name": ("images", {"file_name": 16}, "with the file_name 16: give the file's name"),
    "a category twice": ("categories", {"id": 20}, r"has the category \{'id': 20, .*: give each an id of its own"),
    "a category of no id": ("categories", {"id": None}, "has the category .*: give each an id of its own"),
}


def change_coco(folder, kind, change, split="test"):
    file = folder / "annotations" / f"instances_{split}2017.json"
    said = json.loads(file.read_text())
    said[kind][0] |= change
    file.write_text(json.dumps(said))


@pytest.mark.parametrize("fault", COCO)
def test_json_of_other_types_and_ids_is_refused(coco, fault):
    kind, change, said = COCO[fault]
    change_coco(coco, kind, change)
    with pytest.raises(ValueError, match=rf"instances_test2017\.json.*{said}") as refused:
        load(coco)
    assert "\n" not in str(refused.value)


def test_a_byte_order_mark_is_no_part_of_a_text(tmp_path):
    folders = [write_voc(tmp_path / "voc"), write_coco(tmp_path / "coco"), write_masks(tmp_path / "masks")]
    (folders[0] / "classes.txt").write_text("\n".join(sorted(CLASSES)))
    for folder in folders:
        before = load(folder)
        for file in (one for one in folder.rglob("*") if one.suffix in (".txt", ".json", ".xml")):
            file.write_text(file.read_text(), "utf-8-sig")
        assert load(folder).classes == before.classes and digest_of(load(folder), "") == digest_of(before, "")


def test_what_cannot_be_read_at_all_leaves_its_image_out_on_request(voc):
    """Without its objects an image would be trained on as background."""
    (voc / "Annotations" / "004.xml").write_text("<an")
    (voc / "Annotations" / "005.xml").unlink()
    (voc / "JPEGImages" / "005.png").write_bytes(b"broken")  # whose size the XML would tell
    with pytest.raises(ValueError, match=r"004\.xml cannot be read as VOC's XML .*, and 1 more of"):
        load(voc)
    assert len(load(voc, skip_broken=True).train) == 10


OUTLINES = {
    "two points": [[1, 1, 9, 9]],
    "half a point": [[1, 1, 9, 1, 9, 9, 1]],
    "words": [["1", "1", "9", "1", "9", "9"]],
    "not finite": [[1, 1, float("nan"), 1, 9, 9]],
    "far out": [[1, 1, 1e30, 1, 9, 9]],
    "no list": "outline",
    "runs too short": {"size": [32, 48], "counts": [3, 4]},
    "negative runs": {"size": [32, 48], "counts": [32 * 48 + 4, -4]},
    "runs of another size": {"size": [48, 32], "counts": [10, 32 * 48 - 10]},
    "damaged letters": {"size": [32, 48], "counts": "zzzzzz"},  # pycocotools gives what lies in memory
}


@pytest.mark.parametrize("fault", OUTLINES)
def test_outlines_are_read_before_training_of_a_model_with_masks(coco, fault, caplog):
    change_coco(coco, "annotations", {"segmentation": OUTLINES[fault]}, split="train")
    settings = dataclasses.asdict(Data())
    for masks in (False, True):
        sets = load(coco)
        preprocess = sets.preprocess(settings, image_size=(32, 48), time_steps=1, masks=masks)
        if not masks:
            assert len(sets.augmented(sets.train, preprocess, settings, {}, 0)) == 12
    said = r"000\.png: (outline|mask) 1 has .*; 1 of 12 images have such outlines; replace or delete"
    with pytest.raises(ValueError, match=said):
        sets.augmented(sets.train, preprocess, settings, {}, 0)
    sets = load(coco, skip_broken=True)
    caplog.set_level(logging.WARNING, "spikeformers")
    kept = sets.augmented(sets.train, preprocess, {**settings, "skip_broken": True}, {}, 0)
    assert len(kept) == 11 and kept[10][1]["masks"].shape[1:] == (32, 48)
    assert "skipped 1 of 12 images" in caplog.text


def test_compressed_outlines_are_those_of_pycocotools():
    mask = pytest.importorskip("pycocotools.mask")
    rng = np.random.RandomState(0)
    for share in (0, 0.02, 0.5, 0.98, 1):
        inside = np.asfortranarray(rng.rand(70, 50) < share, np.uint8)
        packed = mask.encode(inside)
        outline = {"size": [70, 50], "counts": packed["counts"].decode()}
        boxes = Boxes((70, 50), np.zeros((1, 4), np.float32), np.zeros(1, int), np.zeros(1, bool), (outline,))
        assert np.array_equal(boxes.masks()[0], inside)


def test_the_inside_of_a_polygon_has_its_area():
    """Pillow's polygons have the edge too: a disc of radius 4 is a third larger."""
    for radius in (4, 8, 16):
        turns = np.linspace(0, 2 * np.pi, 100)[:-1]
        disc = np.stack([20.3 + radius * np.cos(turns), 20.6 + radius * np.sin(turns)], 1).ravel().tolist()
        square = [4, 6, 4 + radius, 6, 4 + radius, 6 + radius, 4, 6 + radius]
        boxes = Boxes((40, 40), np.zeros((2, 4), np.float32), np.zeros(2, int), np.zeros(2, bool), ([disc], [square]))
        of_disc, of_square = boxes.masks()
        assert of_disc.sum() == pytest.approx(np.pi * radius**2, rel=0.04)
        assert of_square.sum() == radius**2 == of_square[6 : 6 + radius, 4 : 4 + radius].sum()


TABLES = {
    "one row alone": lambda rows: rows[0],
    "rows in columns": lambda rows: rows[:, None],
    "times as text": lambda rows: rows.astype([("ts", "S9"), *rows.dtype.descr[1:]]),
    "times of no day": lambda rows: with_time(rows, float("nan")),
    "times beyond all": lambda rows: with_time(rows, 2.0**63),
    "half a class": lambda rows: with_class(rows, 0.5),
}


def with_time(rows, t):
    rows = rows.astype([("ts", "<f8"), *rows.dtype.descr[1:]])
    rows["ts"][1] = t
    return rows


def with_class(rows, label):
    rows = rows.astype([(name, "<f4" if name == "class_id" else kind) for name, kind in rows.dtype.descr])
    rows["class_id"][1] = label
    return rows


@pytest.mark.parametrize("fault", TABLES)
def test_tables_of_boxes_of_other_types_are_refused(driven, tmp_path, fault):
    folder = shutil.copytree(driven, tmp_path / "set")
    file = folder / "val" / "drive0_bbox.npy"
    np.save(file, TABLES[fault](np.load(file)))
    with pytest.raises(
        ValueError, match=r"drive0_bbox\.npy (cannot be read as boxes|at 400000 micro.*the class 0\.5)|" + TIME
    ):
        load(folder)


TIME = r"drive0_bbox\.npy: box 2 has the time (nan|9.*e\+18), which is not a whole number"


def test_a_void_that_no_mask_can_have(masks):
    with pytest.raises(ValueError, match=r"data\.void 300 is no value of a mask: give one from 0 to 255"):
        load(masks, void=300)


# ---- images that their EXIF tag turns


def turn(file, tag, size=None):
    """Gives a file a tag of orientation, and other pixels of `size` if wanted."""
    image = Image.open(file) if size is None else Image.new("RGB", size)
    exif = Image.Exif()
    exif[0x0112] = tag
    image.save(file, exif=exif)


def test_boxes_are_of_the_turned_picture_and_what_no_size_shows_is_told(coco, caplog):
    caplog.set_level(logging.WARNING, "spikeformers")
    turn(coco / "test2017" / "016.png", 6, size=(32, 48))  # 48 x 32 once turned
    prepare(load(coco))
    assert "EXIF" not in caplog.text
    turn(coco / "test2017" / "017.png", 3)
    for skip in (False, True):
        caplog.clear()
        prepare(load(coco, skip_broken=skip), skip_broken=skip)
        (told,) = [said for said in caplog.messages if "EXIF" in said]
        assert told.startswith("1 of 4 images of ") and "the first is" in told and "017.png" in told
    turn(coco / "test2017" / "018.png", 8)
    with pytest.raises(
        ValueError, match=r"018\.png has 32 x 48 pixels as its EXIF tag turns it, but its boxes are for"
    ):
        prepare(load(coco))


def test_a_mask_is_turned_by_a_tag_of_its_own(masks, caplog):
    caplog.set_level(logging.WARNING, "spikeformers")
    for i in (16, 17):
        turn(masks / "test" / "images" / f"{i:03}.png", 3)
    turn(masks / "test" / "labels" / "017.png", 3)
    sets = load(masks)
    prepare(sets)
    (told,) = [said for said in caplog.messages if "EXIF" in said]
    assert told.startswith("1 of 4 images of ") and "016.png" in told
    pixels, _, _, mask = draw_scene(17)
    assert np.array_equal(np.asarray(sets.test[1][0]), pixels[::-1, ::-1])
    assert np.array_equal(sets.test[1][1], mask[::-1, ::-1])
    assert np.array_equal(sets.test[0][1], draw_scene(16)[3])


def test_validation_takes_whole_recordings(tmp_path):
    folder = write_gen1(tmp_path / "set", counts=(("train", 4), ("test", 1)))
    sets = load(folder, validation=0.25)
    train, held = ({recording.path for recording, _ in split} for split in (sets.train, sets.validation))
    assert len(train) == 3 and len(held) == 1 and not train & held
    with pytest.raises(ValueError, match=r"validation 0\.1 of 4 training recordings leaves none: raise it, or pass 0"):
        load(folder, validation=0.1)


def test_one_more_class_of_cityscapes_is_void(tmp_path):
    write_masks(tmp_path / "cityscapes", "cityscapes", values=(7, 33, 26, 5), names=())
    masks = [load("cityscapes", root=str(tmp_path), void=void, validation=0).train[0][1] for void in (None, 33)]
    assert np.array_equal(masks[1], np.where(masks[0] == 18, 255, masks[0])) and (masks[0] == 18).any()


@pytest.mark.parametrize(("layout", "count"), [("ade20k", 150), ("cityscapes", 19)])
def test_names_that_are_not_those_of_the_masks(tmp_path, layout, count):
    write_masks(tmp_path / layout, layout, values=(7, 33, 26, 5), names=("a", "b", "c"))
    with pytest.raises(ValueError, match=rf"classes\.txt names 3 classes, but the masks have {count}: name these"):
        load(layout, root=str(tmp_path), validation=0)
    (tmp_path / layout / "classes.txt").write_text("\n".join(f"class {k}" for k in range(count)))
    assert load(layout, root=str(tmp_path), validation=0).classes[1] == "class 1"


def test_boxes_of_recordings_that_are_wrong(tmp_path):
    folder = write_gen1(tmp_path / "set")
    np.save(folder / "val" / "drive0_bbox.npy", np.zeros(3))
    with pytest.raises(ValueError, match=r"drive0_bbox\.npy cannot be read as boxes .*: save a table with the columns"):
        load(folder)
    (folder / "val" / "drive0_td.npz").unlink()
    with pytest.raises(FileNotFoundError, match=r"drive0_bbox\.npy has no recording drive0_td\.dat beside it"):
        load(folder)


def test_a_known_set_that_is_not_there_says_what_to_unpack_where(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"coco is not in .*: unpack train2017\.zip.* into .*/coco, or name"):
        load("coco", root=str(tmp_path))
    write_voc(tmp_path / "BCCD")
    assert load("bccd", root=str(tmp_path)).classes == ("blue", "green", "red")


def test_a_set_without_validation_gives_a_part_of_training(tmp_path):
    folder = write_voc(tmp_path / "set", counts={"train": 12, "test": 4})
    sets = load(folder, validation=0.25)
    assert [len(split) for split in (sets.train, sets.validation, sets.test)] == [9, 3, 4]
    with pytest.raises(ValueError, match=r"validation 0\.01 of 12 training items leaves none"):
        load(folder, validation=0.01)
