"""Known image sets, folders of images, and what goes wrong with them."""

import logging
import pickle
import struct
import subprocess
import sys
from collections import Counter
from urllib.error import URLError

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import Subset

from spikeformers.data import known_image_sets, load_images, load_sets
from spikeformers.data.known import SETS
from spikeformers.data.split import stratified_split


@pytest.fixture
def make_folder(tmp_path):
    """Writes `counts[split][class]` tiny PNGs, each of a colour of its own, and returns the folder."""

    def make(counts, root=tmp_path / "set"):
        for split, classes in counts.items():
            for number, (name, count) in enumerate(classes.items()):
                (root / split / name).mkdir(parents=True)
                for i in range(count):
                    Image.new("RGB", (6, 4), (i, number, 7)).save(root / split / name / f"{i:03}.png")
        return root

    return make


def labels_of(dataset):
    return [dataset[i][1] for i in range(len(dataset))]


# ---- the split


def test_split_is_disjoint_complete_and_stratified():
    labels = [0] * 50 + [1] * 30 + [2] * 20
    rest, part = stratified_split(labels, 0.1, seed=3)
    assert sorted(rest + part) == list(range(100))
    assert Counter(labels[i] for i in part) == {0: 5, 1: 3, 2: 2}


def test_split_is_the_same_on_every_machine():
    assert stratified_split([0, 1] * 10, 0.2, seed=0)[1] == [4, 7, 11, 16]
    assert stratified_split([0, 1] * 10, 0.2, seed=0) != stratified_split([0, 1] * 10, 0.2, seed=1)


def test_split_leaves_every_class_an_item():
    rest, part = stratified_split([0, 1, 1], 0.9, seed=0)
    assert (len(rest), len(part)) == (2, 1)
    assert 0 in rest


def test_validation_is_cut_from_training():
    sets = load_images("digits", validation=0.1, seed=5)
    whole = load_images("digits", validation=0.0)
    assert len(whole.validation) == 0
    assert len(sets.train) + len(sets.validation) == len(whole.train)
    assert not set(sets.train.indices) & set(sets.validation.indices)
    assert set(labels_of(sets.validation)) == set(range(10))
    assert sets.validation.indices == load_images("digits", validation=0.1, seed=5).validation.indices
    assert sets.validation.indices != load_images("digits", validation=0.1, seed=6).validation.indices


@pytest.mark.parametrize("validation", [-0.1, 1.0, 10])
def test_validation_must_be_a_share(validation):
    with pytest.raises(ValueError, match=r"validation .* is not in 0 <= validation < 1; 0\.1 holds out a tenth"):
        load_images("digits", validation=validation)


def test_validation_that_would_be_empty_is_refused(make_folder):
    folder = make_folder({"train": {"cat": 2, "dog": 2}, "test": {"cat": 1, "dog": 1}})
    with pytest.raises(
        ValueError, match=r"validation 0\.1 of 4 training images leaves no image in any class; raise it"
    ):
        load_images(str(folder), validation=0.1)
    assert len(load_images(str(folder), validation=0).validation) == 0


# ---- torchvision's sets


@pytest.fixture
def cifar10(tmp_path, monkeypatch):
    """CIFAR-10's files with 4 images per batch; only the checksums are waved through."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    rng = np.random.RandomState(0)
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        data = rng.randint(0, 256, (4, 3072), dtype=np.uint8)
        (folder / name).write_bytes(pickle.dumps({"data": data, "labels": [0, 1, 0, 1]}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": ["airplane", "automobile"]}))
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda path, md5=None: True)
    return tmp_path


def write_mnist(root, class_name):
    folder = root / class_name / "raw"
    folder.mkdir(parents=True)
    for part in ("train", "t10k"):
        labels = np.arange(20, dtype=np.uint8) % 10
        images = np.repeat(labels, 28 * 28)
        files = {
            f"{part}-images-idx3-ubyte": struct.pack(">4i", 2051, 20, 28, 28) + images.tobytes(),
            f"{part}-labels-idx1-ubyte": struct.pack(">2i", 2049, 20) + labels.tobytes(),
        }
        for name, content in files.items():
            (folder / name).write_bytes(content)


def test_cifar10(cifar10):
    sets = load_images("cifar10", root=cifar10, validation=0.2)
    assert (len(sets.train), len(sets.validation), len(sets.test)) == (16, 4, 4)
    assert sets.classes == ("airplane", "automobile")
    assert (sets.channels, sets.image_size, sets.interpolation) == (3, 32, "bicubic")
    assert sets.mean == (0.4914, 0.4822, 0.4465)
    assert sets.std == (0.2470, 0.2435, 0.2616)
    image, label = sets.test[1]
    assert (image.mode, image.size, label) == ("RGB", (32, 32), 1)
    assert Counter(labels_of(sets.validation)) == {0: 2, 1: 2}


@pytest.mark.parametrize(("name", "class_name"), [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST")])
def test_mnist_like(tmp_path, name, class_name):
    write_mnist(tmp_path, class_name)
    sets = load_images(name, root=str(tmp_path), validation=0.5)
    assert (len(sets.train), len(sets.validation), len(sets.test), len(sets.classes)) == (10, 10, 20, 10)
    assert (sets.channels, sets.image_size, sets.interpolation) == (1, 28, "bilinear")
    image, label = sets.validation[3]
    assert (image.mode, image.size, image.getpixel((0, 0))) == ("L", (28, 28), label)


@pytest.mark.parametrize(
    "name", [name for name in known_image_sets() if "of" in getattr(SETS[name].load, "keywords", ())]
)
def test_no_network_says_where_to_put_the_files(name, tmp_path, monkeypatch, capsys):
    def no_network(*args, **kwargs):
        sys.stdout.write("Downloading")  # as some of torchvision's releases do
        raise URLError("no route")

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", no_network)
    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", no_network)
    with pytest.raises(FileNotFoundError) as caught:
        load_images(name, root=tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{name} is not in '{tmp_path}' (")
    assert "no route" in message
    assert "put the files there as torchvision.datasets." in message
    assert message.endswith("or pass a folder of images")
    assert "\n" not in message
    assert capsys.readouterr().out == ""  # which is for results


def test_download_can_be_forbidden(tmp_path, monkeypatch):
    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", lambda *a, **k: pytest.fail("tried"))
    with pytest.raises(FileNotFoundError, match="cifar100 is not in"):
        load_images("cifar100", root=tmp_path, download=False)


def test_corrupt_files_are_not_hidden(cifar10, monkeypatch):
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda path, md5=None: False)
    with pytest.raises(FileNotFoundError, match=r"Dataset not found or corrupted"):
        load_images("cifar10", root=cifar10, download=False)


# ---- folders


def test_folder_with_test(make_folder):
    folder = make_folder({"train": {"dog": 10, "cat": 20}, "test": {"cat": 2, "dog": 3}})
    sets = load_images(str(folder), validation=0.1)
    assert sets.classes == ("cat", "dog")
    assert (len(sets.train), len(sets.validation), len(sets.test)) == (27, 3, 5)
    assert Counter(labels_of(sets.validation)) == {0: 2, 1: 1}
    assert (sets.channels, sets.image_size, sets.interpolation, sets.skipped) == (3, None, "bicubic", ())
    assert (sets.mean, sets.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    image, label = sets.test[4]
    assert (image.mode, image.getpixel((0, 0)), label) == ("RGB", (2, 1, 7), 1)


def test_val_alone_is_the_test_set(make_folder):
    sets = load_images(str(make_folder({"train": {"cat": 10}, "val": {"cat": 4}})))
    assert (len(sets.train), len(sets.validation), len(sets.test)) == (9, 1, 4)


def test_val_beside_test_is_the_validation_set(make_folder):
    sets = load_images(str(make_folder({"train": {"cat": 10}, "val": {"cat": 4}, "test": {"cat": 5}})))
    assert (len(sets.train), len(sets.validation), len(sets.test)) == (10, 4, 5)


def test_a_folder_beside_the_splits_is_told(make_folder, caplog):
    folder = make_folder({"train": {"cat": 2}, "val": {"cat": 1}, "testing": {"cat": 3}, ".hidden": {"cat": 1}})
    assert len(load_images(str(folder), validation=0).test) == 1
    assert caplog.messages == [
        f"{folder} holds 1 folder(s) that are not read, the first is testing: its splits are named train, val and test"
    ]


def test_every_extension_in_any_case_and_nothing_else(make_folder, caplog):
    folder = make_folder({"train": {"cat": 0}, "test": {"cat": 1}})
    for name in ("a.jpg", "b.JPEG", "c.Png", "d.bmp", "e.webp", "f.ppm", "g.tif", "h.TIFF", "i.Gif", "j.avif"):
        Image.new("RGB", (4, 4)).save(folder / "train" / "cat" / name)
    for name in ("Thumbs.db", "._a.jpg", "notes.txt"):
        (folder / "train" / "cat" / name).write_bytes(b"not an image")
    for hidden in (folder / "train" / ".ipynb_checkpoints", folder / "train" / "cat" / ".ipynb_checkpoints"):
        hidden.mkdir()
        Image.new("RGB", (9, 9)).save(hidden / "0.png")
    Image.new("RGB", (9, 9)).save(folder / "train" / "of no class.png")
    sets = load_images(str(folder), validation=0)
    assert len(sets.train) == 10
    assert {sets.train[i][0].size for i in range(10)} == {(4, 4)}
    (told,) = caplog.messages
    assert told.startswith(f"skipped 3 file(s) of {folder}, the first is {folder / 'train' / 'of no class.png'}: ")


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "CMYK"])
def test_every_mode_becomes_rgb(make_folder, mode):
    folder = make_folder({"train": {"cat": 1}, "test": {"cat": 0}})
    Image.new(mode, (4, 4)).save(folder / "test" / "cat" / "odd.tif")
    assert load_images(str(folder), validation=0).test[0][0].mode == "RGB"


def test_deep_images_are_refused_rather_than_clipped_to_white(make_folder):
    folder = make_folder({"train": {"cat": 1}, "test": {"cat": 0}})
    Image.fromarray(np.full((4, 4), 9000, np.uint16)).save(folder / "test" / "cat" / "deep.png")
    sets = load_images(str(folder), validation=0)
    deep = r"deep\.png has more than 8 bits per channel \(mode I;16\); save it with 8 bits"
    with pytest.raises(ValueError, match=deep):
        sets.test[0]
    with pytest.raises(ValueError, match=deep):
        sets.prepared(sets.test, sets.preprocess({}, image_size=4), {})


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("cifar_10", "did you mean cifar10 or cifar100?"),
        ("FashionMNIST", "did you mean fashion_mnist?"),
        ("/nowhere/at/all", f"known are {', '.join(known_image_sets())}"),
    ],
)
def test_neither_set_nor_folder(name, remedy):
    with pytest.raises(FileNotFoundError) as caught:
        load_images(name)
    assert str(caught.value) == f"{name!r} is neither a folder nor a known image set; {remedy}"


@pytest.mark.parametrize(
    ("counts", "error", "message"),
    [
        ({"test": {"cat": 1}}, FileNotFoundError, "set has no 'train' folder; lay it out as train/<class>/<image>"),
        ({"train": {"cat": 1}}, FileNotFoundError, "set has no 'val' or 'test' folder; lay it out as train/<class>"),
        (
            {"train": {"cat": 1, "dog": 0}, "test": {"cat": 1, "dog": 1}},
            FileNotFoundError,
            r"train/dog holds no readable image \(\.jpg .*\); add some, or remove that class",
        ),
        (
            {"train": {"cat": 1}, "test": {"cat": 0}},
            FileNotFoundError,
            r"test/cat holds no readable image",
        ),
        (
            {"train": dict.fromkeys("abcdex", 1), "val": {"x": 1, "y": 1}},
            ValueError,
            "the class folders of train and val differ in .*: only in train a, b, c and 2 more, only in val y; give",
        ),
        (
            {"train": {"x": 1}, "val": {"x": 1}, "test": {"x": 1, "y": 1}},
            ValueError,
            "the class folders of train and test differ in .*: only in train none, only in test y",
        ),
    ],
)
def test_wrong_layouts(make_folder, counts, error, message):
    with pytest.raises(error, match=message) as caught:
        load_images(str(make_folder(counts)))
    assert "\n" not in str(caught.value)


def test_split_without_class_folders(make_folder):
    folder = make_folder({"train": {"cat": 1}})
    (folder / "val").mkdir()
    Image.new("RGB", (4, 4)).save(folder / "val" / "a.png")
    with pytest.raises(FileNotFoundError, match=r"val has no class folders; put its images at val/<class>/<image>"):
        load_images(str(folder))


# ---- broken files


@pytest.fixture
def broken(make_folder):
    """A folder with one file that is no image; returns both."""
    folder = make_folder({"train": {"cat": 4}, "test": {"cat": 1}})
    file = folder / "train" / "cat" / "001.png"
    file.write_bytes(b"not an image")
    return folder, file


def test_broken_file_is_named_when_it_is_read(broken):
    folder, file = broken
    sets = load_images(str(folder), validation=0)
    assert sets.train[0][1] == 0
    with pytest.raises(ValueError) as caught:
        sets.train[1]
    message = str(caught.value)
    assert message.startswith(f"{file} cannot be read as an image (")
    assert message.endswith("skip_broken=True (train: --data.skip_broken true; eval: --skip-broken)")
    assert "\n" not in message


def test_broken_files_can_be_left_out(broken, caplog):
    folder, file = broken
    with caplog.at_level(logging.WARNING, logger="spikeformers"):
        sets = load_images(str(folder), validation=0, skip_broken=True)
    assert sets.skipped == (str(file),)
    assert [sets.train[i][0].getpixel((0, 0))[0] for i in range(len(sets.train))] == [0, 2, 3]
    assert caplog.messages == [f"skipped 1 broken image file(s) of {folder}, the first is {file}"]


def test_damage_behind_the_first_bytes_is_found_where_the_format_has_checksums(make_folder):
    folder = make_folder({"train": {"cat": 2}, "test": {"cat": 1}})
    file = folder / "train" / "cat" / "001.png"
    content = bytearray(file.read_bytes())
    content[content.index(b"IDAT") + 6] ^= 0xFF
    file.write_bytes(content)
    assert load_images(str(folder), validation=0, skip_broken=True).skipped == (str(file),)


def test_nothing_broken_nothing_said(make_folder, caplog):
    folder = make_folder({"train": {"cat": 4}, "test": {"cat": 1}})
    sets = load_images(str(folder), validation=0, skip_broken=True)
    assert (sets.skipped, len(sets.train), caplog.messages) == ((), 4, [])


def test_class_of_broken_files_only(make_folder):
    folder = make_folder({"train": {"cat": 4}, "test": {"cat": 1}})
    (folder / "test" / "cat" / "000.png").write_bytes(b"not an image")
    with pytest.raises(FileNotFoundError, match="test/cat holds no readable image"):
        load_images(str(folder), skip_broken=True)


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_broken_file_is_told_before_a_split_is_used(make_folder, split):
    folder = make_folder({"train": {"cat": 3}, "test": {"cat": 3}})
    file = folder / split / "cat" / "001.png"
    file.write_bytes(b"not an image")
    sets = load_images(str(folder), validation=0)
    how = sets.preprocess({}, image_size=4)
    uses = {
        "train": lambda s: sets.augmented(sets.train, how, s, {}, 0),
        "test": lambda s: sets.prepared(sets.test, how, s),
    }
    other = "test" if split == "train" else "train"
    assert len(uses[other]({})) == 3  # which is whole
    for settings in ({}, {"skip_broken": False}):
        with pytest.raises(ValueError, match=rf"^{file} cannot be read as an image .*; replace or delete it, or skip"):
            uses[split](settings)
    read = load_sets({"name": str(folder), "root": "data", "skip_broken": True}, seed=0, validation=0)
    assert (read.skipped, len(getattr(read, split)), len(getattr(read, other))) == ((str(file),), 2, 3)
    assert len(read.prepared(read.test, how, {"skip_broken": True})) == len(read.test)


def test_a_subset_is_checked_alone(broken):
    folder, _ = broken
    sets = load_images(str(folder), validation=0)
    how = sets.preprocess({}, image_size=4)
    assert len(sets.prepared(Subset(sets.train, [0, 2]), how, {})) == 2
    with pytest.raises(ValueError, match=r"001\.png cannot be read"):
        sets.prepared(Subset(sets.train, [0, 1]), how, {})


def test_a_truncated_body_is_left_out_too(make_folder):
    folder = make_folder({"train": {"cat": 1}, "test": {"cat": 1}})
    file = folder / "test" / "cat" / "cut.jpg"
    noise = np.random.RandomState(0).randint(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file)
    file.write_bytes(file.read_bytes()[:-2000])
    sets = load_images(str(folder), validation=0, skip_broken=True)
    assert (sets.skipped, len(sets.test)) == ((str(file),), 1)


# ---- said aloud


def test_one_class_alone_is_told(make_folder, caplog):
    folder = make_folder({"train": {"cat": 3}, "test": {"cat": 1}})
    load_sets({"name": str(folder), "root": "data", "skip_broken": False}, seed=0, validation=0)
    assert caplog.messages == [
        f"{folder} has one class, cat: any accuracy will be 100 %; add a second class to classify"
    ]


def test_which_is_meant_where_a_folder_has_a_known_sets_name(make_folder, tmp_path, monkeypatch, caplog):
    make_folder({"train": {"cat": 3, "dog": 3}, "test": {"cat": 1, "dog": 1}}, tmp_path / "digits")
    monkeypatch.chdir(tmp_path)
    assert len(load_images("digits").classes) == 10
    assert caplog.messages == ["digits is the known set of that name; for the folder write ./digits"]
    caplog.clear()
    assert load_images("./digits", validation=0).classes == ("cat", "dog")
    assert caplog.messages == []


# ---- the package


def test_importing_is_light():
    code = "import sys, spikeformers.data; print({'torchvision', 'timm', 'sklearn', 'lightning'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "set()"


def test_known_names():
    assert {"digits", "cifar10", "mnist"} <= {*known_image_sets()} < {*SETS}
    assert not {"nmnist", "coco"} & {*known_image_sets()}
