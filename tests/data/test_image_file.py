"""The one door for images: what is shown of a file or an object, what is refused, what is found before a run."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageOps

from spikeformers.data.folders import FolderImages
from spikeformers.data.image_dataset import check_images, find_broken
from spikeformers.data.image_file import files_below, read_image

NOISE = Image.fromarray(np.random.RandomState(0).randint(0, 256, (48, 64, 3), np.uint8))
FORMATS = ("bmp", "gif", "jpg", "png", "ppm", "tiff", "webp", "avif")


def corners(colours=((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255))):
    """An image of 64 x 48 pixels whose quarters differ."""
    quarters = np.array(colours, np.uint8).reshape(2, 2, 3)
    return Image.fromarray(quarters.repeat(24, 0).repeat(32, 1))


def quarters(image):
    w, h = image.size
    at = [(w // 4, h // 4), (3 * w // 4, h // 4), (w // 4, 3 * h // 4), (3 * w // 4, 3 * h // 4)]
    return [tuple(channel > 127 for channel in image.getpixel(place)) for place in at]


# ---- upright


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tiff", "avif"])
@pytest.mark.parametrize("tag", range(1, 9))
def test_as_its_tag_says_a_file_and_an_object_alike(tmp_path, kind, tag):
    exif = Image.Exif()
    exif[0x0112] = tag
    stored, file = corners(), tmp_path / f"a.{kind}"
    stored.save(file, exif=exif)
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # Pillow's numbers for mirroring and turning, by the tag's
    expected = stored if tag == 1 else stored.transpose(Image.Transpose(turns[tag]))
    for given in (file, Image.open(file)):
        shown = read_image(given, "a")
        assert (shown.mode, shown.size) == ("RGB", expected.size)
        assert quarters(shown) == quarters(expected)


def test_a_tag_that_cannot_be_read_turns_nothing(tmp_path, monkeypatch):
    def cannot(image):
        raise struct.error("unpack requires a buffer of 2 bytes")

    NOISE.save(tmp_path / "a.png")
    monkeypatch.setattr(ImageOps, "exif_transpose", cannot)
    assert read_image(tmp_path / "a.png", "a").tobytes() == NOISE.tobytes()


# ---- kinds of files


@pytest.mark.parametrize("kind", ["gif", "png", "webp", "tiff"])
def test_the_first_frame_of_several(tmp_path, kind):
    first, second = (Image.new("RGB", (8, 8), colour) for colour in ((250, 0, 0), (0, 0, 250)))
    first.save(tmp_path / f"a.{kind}", save_all=True, append_images=[second], lossless=True)
    assert read_image(tmp_path / f"a.{kind}", "a").getpixel((4, 4)) == (250, 0, 0)
    moved = Image.open(tmp_path / f"a.{kind}")
    moved.seek(1)
    assert read_image(moved, "a").getpixel((4, 4)) == (0, 0, 250)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_deep_objects_are_refused_as_deep_files_are(tmp_path, mode):
    deep = Image.fromarray(np.full((4, 4), 9000, np.uint16))
    deep.save(tmp_path / "deep.png")
    wide, real = Image.fromarray(np.full((4, 4), 9000, np.int32)), Image.fromarray(np.zeros((4, 4), np.float32))
    for given in (tmp_path / "deep.png", Image.open(tmp_path / "deep.png"), deep, wide, real):
        with pytest.raises(ValueError, match=r"it has more than 8 bits per channel \(mode .*\); save it with 8 bits"):
            read_image(given, "it", mode)


def test_a_broken_object_is_named_as_a_broken_file_is(tmp_path):
    NOISE.save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:-1000])
    for given in (tmp_path / "a.jpg", Image.open(tmp_path / "a.jpg")):
        with pytest.raises(ValueError, match=r"^it cannot be read as an image \(.*truncated.*\); leave it$"):
            read_image(given, "it", remedy="leave it")


def test_a_reason_holds_no_address_in_memory():
    with pytest.raises(ValueError, match=r"^it cannot be read as an image \(unknown format\); "):
        read_image(io.BytesIO(b"nothing"), "it")


# ---- before a run


@pytest.fixture
def make_file(tmp_path):
    """Noise in a file, of which `harm` makes another content."""

    def make(name, harm=lambda content: content):
        NOISE.save(tmp_path / name)
        (tmp_path / name).write_bytes(harm((tmp_path / name).read_bytes()))
        return str(tmp_path / name)

    return make


def only(*files):
    return FolderImages([(file, 0) for file in files])


def test_whole_files_of_every_kind_are_found_whole(make_file):
    files = [make_file(f"a.{kind}") for kind in FORMATS]
    files.append(make_file("padded.jpg", lambda content: content + bytes(8)))  # cameras do
    assert find_broken(only(*files)) == {}
    check_images(only(*files))


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_cut_short_is_found(make_file, kind):
    cut = make_file(f"cut.{kind}", lambda content: content[: len(content) * 2 // 3])
    (why,) = find_broken(only(make_file(f"whole.{kind}"), cut)).values()
    assert why.startswith(f"{cut} cannot be read as an image (")


def test_what_else_is_found(make_file, tmp_path):
    text, gone = make_file("text.png", lambda content: b"no image"), str(tmp_path / "gone.png")
    Image.fromarray(np.full((4, 4), 9000, np.uint16)).save(tmp_path / "deep.png")
    broken = find_broken(only(make_file("a.png"), text, gone, str(tmp_path / "deep.png")))
    assert list(broken) == [1, 2, 3]
    assert "No such file" in broken[2]
    assert broken[3] == f"{tmp_path / 'deep.png'} has more than 8 bits per channel (mode I;16); save it with 8 bits"
    with pytest.raises(ValueError) as told:
        check_images(only(make_file("a.png"), text, gone))
    assert str(told.value).startswith(f"{text} cannot be read as an image (unknown format), and 1 more of 3 ")
    assert str(told.value).endswith("(train: --data.skip_broken true; eval: --skip-broken)")


def test_hidden_files_and_folders_are_passed_over(tmp_path):
    for name in ("b/1.png", "b/.ipynb_checkpoints/1.png", "b/.1.png", "a.png", "b/c/0.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert files_below(tmp_path) == [str(tmp_path / name) for name in ("a.png", "b/1.png", "b/c/0.txt")]
    with pytest.raises(FileNotFoundError, match="nowhere"):
        files_below(tmp_path / "nowhere")
