"""Image sets that are not a million small files: WebDataset shards, and sets of the Hugging Face Hub."""

import io
import tarfile

import pytest
from PIL import Image

from spikeformers.data import load_images, load_sets

COLOURS = [(10, 0, 0), (0, 120, 0), (0, 0, 250)]


def png(colour):
    file = io.BytesIO()
    Image.new("RGB", (4, 4), colour).save(file, "PNG")
    return file.getvalue()


def write_shard(path, entries):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in entries:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


@pytest.fixture
def shards(tmp_path):
    """Two training shards and one of validation; image i of 12 has the colour and the label i % 3."""
    for shard in range(2):
        numbers = range(6 * shard, 6 * shard + 6)
        entries = [
            (f"{i:04}.{ext}", c) for i in numbers for ext, c in (("cls", b"%d" % (i % 3)), ("png", png(COLOURS[i % 3])))
        ]
        write_shard(tmp_path / "train" / f"{shard:03}.tar", entries)
    write_shard(tmp_path / "val" / "000.tar", [("a/7.png", png(COLOURS[2])), ("a/7.cls", b"2\n")])
    return tmp_path


def test_images_and_labels_of_all_shards(shards):
    sets = load_images(str(shards), validation=0.25)
    assert sets.classes == ("0", "1", "2")
    assert (len(sets.train), len(sets.validation), len(sets.test)) == (9, 3, 1)
    for split in (sets.train, sets.validation, sets.test):
        for image, label in (split[i] for i in range(len(split))):
            assert image.mode == "RGB"
            assert image.getpixel((0, 0)) == COLOURS[label]
    assert sets.test[0][1] == 2


def test_class_names_are_the_lines_of_a_file(shards):
    (shards / "classes.txt").write_text("red\ngreen\nblue\n")
    assert load_images(str(shards), validation=0).classes == ("red", "green", "blue")
    (shards / "classes.txt").write_text("red\ngreen\n")
    with pytest.raises(ValueError, match="names 2 classes, and the shards' labels go to 2"):
        load_images(str(shards))


def test_what_is_wrong_with_shards_is_told(shards):
    write_shard(shards / "train" / "002.tar", [("x.png", png(COLOURS[0]))])
    with pytest.raises(ValueError, match=r"002.tar has x.png and no x.cls beside it"):
        load_images(str(shards))
    write_shard(shards / "train" / "002.tar", [("x.png", b"no image"), ("x.cls", b"1")])
    sets = load_images(str(shards), validation=0)
    with pytest.raises(ValueError, match=r"002.tar, byte 512, cannot be read as an image"):
        sets.train[12]
    (shards / "train" / "002.tar").write_bytes(b"nothing" * 200)
    with pytest.raises(ValueError, match=r"002.tar is no shard of images"):
        load_images(str(shards))


def test_a_broken_image_among_shards_can_be_left_out(shards):
    write_shard(shards / "train" / "002.tar", [("x.png", b"no image"), ("x.cls", b"1")])
    sets = load_sets({"name": str(shards), "root": "data", "skip_broken": True}, seed=0, validation=0)
    assert sets.train[12][0].size == (4, 4)  # the next readable one stands for it


def test_train_shards_alone_are_not_enough(shards):
    (shards / "val" / "000.tar").unlink()
    with pytest.raises(FileNotFoundError, match="has shards in train only"):
        load_images(str(shards))


def test_a_set_that_the_datasets_library_reads(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for split, count in (("train", 4), ("test", 2)):
        for label, word in enumerate(("cat", "dog")):
            folder = tmp_path / "set" / split / word
            folder.mkdir(parents=True)
            for i in range(count):
                (folder / f"{i}.png").write_bytes(png(COLOURS[label]))
    sets = load_images(f"hfds/{tmp_path / 'set'}", root=tmp_path / "kept", validation=0.25)
    assert sets.classes == ("cat", "dog")
    assert (len(sets.train), len(sets.validation), len(sets.test)) == (6, 2, 4)
    image, label = sets.test[3]
    assert image.getpixel((1, 1)) == COLOURS[label]


def test_a_set_that_is_not_on_the_hub(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(FileNotFoundError, match="hfds/nobody/nothing cannot be read"):
        load_images("hfds/nobody/nothing", root=tmp_path)
