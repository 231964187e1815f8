"""Image sets that are not a million small files: WebDataset shards, and sets of the Hugging Face Hub."""

import io
import tarfile

import pytest
from PIL import Image

from spikeformers.data import load_images, load_sets
from spikeformers.data.loading import eval_loader, unwrap_worker_errors

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
    with pytest.raises(ValueError, match="names 2 classes, but the shards' labels go up to 2"):
        load_images(str(shards))


@pytest.mark.parametrize("content", ["\ufeffred\ngreen\nblue\n\n", "red \r\ngreen\r\nblue"])
def test_class_names_may_end_in_blanks_and_begin_with_a_byte_order_mark(shards, content, caplog):
    (shards / "classes.txt").write_bytes(content.encode())
    assert load_images(str(shards), validation=0).classes == ("red", "green", "blue")
    assert caplog.messages == []


def test_class_names_that_cannot_be_read_are_refused_with_the_file(shards):
    (shards / "classes.txt").write_bytes("café\nthé\nlait\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"classes\.txt is not UTF-8 text"):
        load_images(str(shards))
    (shards / "classes.txt").write_text("red\ngreen\nred\n")
    with pytest.raises(ValueError, match=r"classes\.txt names no class, or one twice"):
        load_images(str(shards))


def broken_header(tar):  # tarfile takes it for the end
    return tar[:1024] + b"!" + tar[1025:]


@pytest.mark.parametrize(
    "damaged",
    [broken_header, lambda tar: tar[:1124], lambda tar: tar[:1024], lambda tar: 2 * tar],
    ids=["header", "cut in a header", "cut between members", "joined"],
)
def test_a_damaged_shard_is_refused_and_not_read_in_part(shards, damaged):
    shard = shards / "train" / "000.tar"
    shard.write_bytes(damaged(shard.read_bytes()))
    with pytest.raises(ValueError, match=r"000\.tar is not a shard .*cut off, damaged or joined .* at byte \d+"):
        load_images(str(shards))


@pytest.mark.parametrize(("name", "what"), [("x.jpg", "image"), ("x.cls", "label")])
def test_two_of_one_name_are_refused(shards, name, what):
    write_shard(shards / "train" / "002.tar", [("x.png", png(COLOURS[0])), ("x.cls", b"0"), (name, b"0")])
    with pytest.raises(ValueError, match=rf"002\.tar is not a shard .*{name} is the second {what} of x\)"):
        load_images(str(shards))


def test_a_shard_that_vanishes_is_named_in_one_line(shards):
    sets = load_images(str(shards), validation=0)
    clips = sets.augmented(sets.train, sets.preprocess({}, image_size=4), {}, {}, 0)
    (shards / "train" / "000.tar").unlink()
    for workers in (0, 1):
        with pytest.raises(ValueError) as told, unwrap_worker_errors():
            next(iter(eval_loader(clips, 4, workers)))
        said = str(told.value)
        assert said.startswith(f"{shards / 'train' / '000.tar'}, byte 1536, cannot be read ([Errno 2] No such file")
        assert "skip_broken" in said and "\n" not in said


def test_what_is_wrong_with_shards_is_told(shards):
    write_shard(shards / "train" / "002.tar", [("x.png", png(COLOURS[0]))])
    with pytest.raises(ValueError, match=r"002.tar has x.png but no x.cls"):
        load_images(str(shards))
    write_shard(shards / "train" / "002.tar", [("x.png", b"no image"), ("x.cls", b"1")])
    sets = load_images(str(shards), validation=0)
    with pytest.raises(ValueError, match=r"002.tar, byte 512, cannot be read as an image"):
        sets.train[12]
    (shards / "train" / "002.tar").write_bytes(b"nothing" * 200)
    with pytest.raises(ValueError, match=r"002.tar is not a shard of images"):
        load_images(str(shards))


def test_a_broken_image_among_shards_can_be_left_out(shards):
    write_shard(shards / "train" / "002.tar", [("x.png", b"no image"), ("x.cls", b"1")])
    sets = load_sets({"name": str(shards), "root": "data", "skip_broken": True}, seed=0, validation=0)
    assert (len(sets.train), sets.skipped) == (12, (f"{shards / 'train' / '002.tar'}, byte 512,",))
    sets = load_images(str(shards), validation=0)
    with pytest.raises(ValueError, match=r"002.tar, byte 512, cannot be read as an image"):
        sets.augmented(sets.train, sets.preprocess({}, image_size=4), {}, {}, 0)


def test_every_member_of_a_shard_is_looked_at(shards, caplog):
    hidden = [("._x.png", b"macOS"), ("a/.b/y.png", b"hidden")]
    write_shard(shards / "train" / "002.tar", [("x.png", png(COLOURS[0])), ("x.cls", b"0"), *hidden])
    assert len(load_images(str(shards), validation=0).train) == 13
    assert caplog.messages == []
    write_shard(shards / "train" / "002.tar", [("x.heic", b"of a telephone"), ("x.cls", b"0"), ("z.cls", b"4")])
    assert len(load_images(str(shards), validation=0).train) == 12
    (told,) = caplog.messages
    assert told.startswith(f"skipped 2 label(s) of {shards / 'train'} without an image (.jpg .jpeg .png ")
    assert told.endswith(f", the first is x.cls in {shards / 'train' / '002.tar'}")
    caplog.clear()
    write_shard(shards / "train" / "002.tar", [("x.png", png(COLOURS[0])), ("x.cls", b"5")])
    assert len(load_images(str(shards), validation=0).classes) == 6
    assert caplog.messages == [f"{shards} has no training image of 2 of its 6 classes, the first is 3"]
    write_shard(shards / "train" / "002.tar", [("x.png", png(COLOURS[0])), ("x.cls", b"-1")])
    with pytest.raises(ValueError, match=r"002.tar is not a shard .*x.cls holds -1, which is below 0"):
        load_images(str(shards))


def test_every_split_is_looked_at(shards):
    (shards / "test" / "0").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"has shards in train, val and the folder .*test/0: keep either"):
        load_images(str(shards))
    (shards / "test" / "0").rmdir()
    for shard in (shards / "train").glob("*.tar"):
        shard.unlink()
    with pytest.raises(FileNotFoundError, match="has shards in val only: put others into its 'train' folder"):
        load_images(str(shards))


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


@pytest.fixture
def make_table(tmp_path, monkeypatch):
    """Writes splits as Parquet files, as sets lie on the Hub; `labels[split]` are those of its rows."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets

    def make(labels, kind=None, image="image", label="label"):
        for split, found in labels.items():
            pictures = [{"bytes": png(COLOURS[i % 3]), "path": None} for i in range(len(found))]
            features = datasets.Features({image: datasets.Image(), label: kind or datasets.Value("int64")})
            table = datasets.Dataset.from_dict({image: pictures, label: found}, features=features)
            (tmp_path / "table" / "data").mkdir(parents=True, exist_ok=True)
            table.to_parquet(tmp_path / "table" / "data" / f"{split}-00000-of-00001.parquet")
        return f"hfds/{tmp_path / 'table'}", tmp_path / "kept"

    return make


def labels_of(split):
    return [split[i][1] for i in range(len(split))]


@pytest.mark.parametrize(
    ("kind", "train", "test", "classes"),
    [
        ("string", ["owl", "cat", "dog"], ["dog", "ant"], ("ant", "cat", "dog", "owl")),
        ("int64", [1, 3, 2], [2, 7], ("1", "2", "3", "7")),
        ("bool", [True, False, True], [False, True], ("False", "True")),
    ],
)
def test_labels_that_are_words_or_numbers(make_table, kind, train, test, classes):
    import datasets

    name, root = make_table({"train": train, "test": test}, datasets.Value(kind))
    sets = load_images(name, root=root, validation=0)
    assert sets.classes == classes
    assert labels_of(sets.train) == [classes.index(str(value)) for value in train]
    assert labels_of(sets.test) == [classes.index(str(value)) for value in test]


def test_columns_of_other_names_and_a_test_split_without_labels(make_table, caplog):
    import datasets

    kind = datasets.ClassLabel(names=["cat", "dog"])
    labels = {"train": [0, 1, 1], "validation": [1, 0], "test": [-1, -1, -1]}
    name, root = make_table(labels, kind, image="img", label="fine_label")
    sets = load_images(name, root=root, validation=0)
    assert (sets.classes, labels_of(sets.test)) == (("cat", "dog"), [1, 0])
    assert caplog.messages == [f"the test split of {name} has no labels and is not used"]


@pytest.mark.parametrize(
    ("kind", "labels", "said"),
    [
        ("float32", [0.5, 1.0], "the column label of .* holds float: store labels as classes"),
        ("string", ["cat", None], "the column label of .* holds NoneType and str: store labels"),
    ],
)
def test_labels_that_are_none_are_refused(make_table, kind, labels, said):
    import datasets

    name, root = make_table({"train": labels, "test": labels}, datasets.Value(kind))
    with pytest.raises(ValueError, match=said):
        load_images(name, root=root)


def test_labels_that_are_lists_are_refused(make_table):
    import datasets

    name, root = make_table({"train": [[0, 1], [1]], "test": [[0], [1]]}, [datasets.Value("int64")])
    with pytest.raises(ValueError, match=r"the column label of .* holds list: store labels as classes"):
        load_images(name, root=root)


@pytest.mark.parametrize("whole", [True, False])
def test_a_damaged_table_is_told_with_the_reason(make_table, tmp_path, whole):
    name, root = make_table({"train": [0, 1], "test": [1, 0]})
    file = tmp_path / "table" / "data" / "train-00000-of-00001.parquet"
    if whole:  # and a second part that is not
        (file.parent / "train-00000-of-00002.parquet").write_bytes(file.read_bytes())
        file = file.rename(file.parent / "train-00001-of-00002.parquet")
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(
        FileNotFoundError, match=r"cannot be read \(.*(magic|footer).*\); repair or remove damaged files"
    ):
        load_images(name, root=root)


def test_columns_that_cannot_be_told_are_named(make_table):
    name, root = make_table({"train": [1, 2], "test": [1, 2]}, label="species")
    with pytest.raises(FileNotFoundError, match=r"table has the columns image, species: name its image column"):
        load_images(name, root=root)


def test_a_broken_image_of_a_table_is_named(make_table, monkeypatch):
    monkeypatch.setitem(globals(), "png", lambda colour: b"no image")
    name, root = make_table({"train": [0, 1], "test": [1, 0]})
    sets = load_images(name, root=root, validation=0)
    with pytest.raises(ValueError, match=rf"^{name}, test, row 0, cannot be read as an image .*, and 1 more of 2"):
        sets.prepared(sets.test, sets.preprocess({}, image_size=4), {})


def test_a_set_that_is_not_on_the_hub(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # read from the environment at import
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    with pytest.raises(FileNotFoundError, match="hfds/nobody/nothing cannot be read"):
        load_images("hfds/nobody/nothing", root=tmp_path)
