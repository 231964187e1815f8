"""What the fuzz draws from: bytes that were damaged, images, names, and values of YAML."""

import io

import yaml
from hypothesis import strategies as st
from PIL import Image


@st.composite
def damaged(draw, data):
    """Bytes with a few flipped, some cut off, left out, repeated or appended; now and then none."""
    data = bytearray(data)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        to = min(len(data), at + draw(st.integers(1, 64)))
        match draw(st.sampled_from(("flip", "set", "cut", "drop", "repeat", "append"))):
            case "flip" if data:
                data[at] ^= 1 << draw(st.integers(0, 7))
            case "set":
                data[at:to] = bytes([draw(st.sampled_from((0, 1, 0x7F, 0x80, 0xFF)))]) * (to - at)
            case "cut":
                del data[at:]
            case "drop":
                del data[at:to]
            case "repeat":
                data[at:at] = data[at:to]
            case "append":
                data += draw(st.binary(max_size=64))
    return bytes(data)


FORMATS = {
    "png": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "jpg": ("1", "L", "RGB", "CMYK"),
    "bmp": ("1", "L", "P", "RGB", "RGBA"),
    "webp": ("L", "RGB", "RGBA"),
    "ppm": ("1", "L", "RGB", "I;16"),
    "tif": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "I", "F"),
    "gif": ("1", "L", "P", "RGB", "RGBA"),
}  # not avif: libavif's encoder, of which no command has need, crashes where memory is short
SIDES = st.one_of(st.integers(1, 40), st.sampled_from((1, 2, 16, 257, 600)))


@st.composite
def pictures(draw, sizes=None):
    """The ending of a file, and what is in it; `sizes` draws width and height."""
    ending = draw(st.sampled_from(list(FORMATS)))
    mode = draw(st.sampled_from(FORMATS[ending]))
    size = draw(st.tuples(SIDES, SIDES) if sizes is None else sizes)
    noise = draw(st.binary(min_size=1, max_size=64))
    # Pillow makes no noise of most modes: the bytes of RGB are turned into them.
    pixels = (noise * (size[0] * size[1] * 3 // len(noise) + 1))[: size[0] * size[1] * 3]
    image = Image.frombytes("RGB", size, pixels)
    image = (
        image.convert("L").convert(mode)
        if mode in ("I;16", "I", "F", "LA")
        else image.convert(mode)
        if mode != "LAB"
        else Image.frombytes("LAB", size, pixels)
    )
    exif = Image.Exif()
    if orientation := draw(st.integers(0, 10)):
        exif[0x0112] = orientation
    more = [image.rotate(180)] if ending in ("gif", "webp", "tif") and draw(st.booleans()) else []
    file = io.BytesIO()
    keep = {} if ending in ("ppm", "bmp", "gif") else {"exif": exif}
    several = {"save_all": True, "append_images": more} if more else {}
    image.save(file, {"jpg": "JPEG", "tif": "TIFF"}.get(ending, ending.upper()), **keep, **several)
    return ending, draw(damaged(file.getvalue()))


@st.composite
def names(draw):
    """Names of files: letters of all scripts, markup, quotes, breaks, spaces, dashes, as long as a file's may be."""
    piece = st.one_of(
        st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=12),  # with lone surrogates
        st.sampled_from(
            ("[red]", "[/b]", "[link=x]", " ", "\n", "\r", "\t", "\x1b[31m", "--", "-", "'", '"', "$(x)", "*", "?", "~")
        ),
        st.sampled_from(
            ("é", "e\u0301", "日本", "🙂", "\u202e", "\u200b", "{x}", "%s", "\\", ":", "=", "#", ";", "a" * 200)
        ),
    )
    name = "".join(draw(st.lists(piece, min_size=1, max_size=4)))
    while len(name.encode("utf-8", "surrogateescape" if _escapes(name) else "replace")) > 250:
        name = name[:-1]
    return name if _escapes(name) and name.strip(".") else "x"


def _escapes(name):
    try:
        name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from((2**31, 2**32, 2**63, 2**64, -(2**63), 10**30, 10**400)),
    st.floats(),
    st.sampled_from((0.5, 1e-300, 1e300, float("nan"), float("inf"), float("-inf"))),
    st.sampled_from(
        ("", " ", "null", "yes", "no", "1", "1e3", "0x10", "nan", ".inf", "inf", "SSA", "LIF", "a.py:B", "a:b")
    ),
    st.text(max_size=8),
    st.dates(),
    st.binary(max_size=4),
)
YAML = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4) | st.just("part"), inner, max_size=3)
    ),
    max_leaves=4,
)


def spelt(value):
    """A value as YAML spells it on one line."""
    return yaml.safe_dump(value, default_flow_style=True, width=10**9).removesuffix("\n").removesuffix("\n...")
