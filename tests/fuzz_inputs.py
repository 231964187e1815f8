"""What the fuzz draws from: bytes that were damaged, names, and values of YAML."""

import yaml
from hypothesis import strategies as st


@st.composite
def damaged(draw, data):
    """Bytes with a few flipped, some cut off, left out, repeated or put behind; now and then none."""
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
