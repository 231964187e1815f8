"""Every number of every family, given as what it cannot be: one line, or a model."""

import inspect

import pytest
import torch

import spikeformers as sf
from spikeformers.models.building import _RANGES
from spikeformers.models.registry import _FAMILIES

WRONG = [0, -24, float("nan"), "two", None, [1]]
FINE = {
    "num_classes": [0], "drop_path": [0], "projection_std": [0, None], "layer_scale": [None], "strides": [[1]],
    "downsampling_strides": [[1]],
}  # fmt: skip


def numbers(family):
    parameters = inspect.signature(_FAMILIES[family].builder).parameters
    hints = {key: str(p.annotation) for key, p in parameters.items()}
    return [key for key, hint in hints.items() if any(word in hint for word in ("int", "float"))]


EVERY = [(family, key) for family in _FAMILIES for key in numbers(family)]


@pytest.mark.parametrize(("family", "argument"), EVERY)
def test_one_line_or_a_model(family, argument):
    size = next(iter(_FAMILIES[family].sizes))
    assert argument in _RANGES
    for value in WRONG:
        try:
            with torch.device("meta"):
                model = sf.create_model(size, **{argument: value})
        except ValueError as error:
            assert argument in str(error) and "\n" not in str(error)
        else:
            assert value in FINE.get(argument, []), f"{size} took {argument}={value}"
            assert model.config[argument] == value


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (dict(dim=-24), "spikformer_8_384: dim -24 is below 1"),
        (dict(strides=(2, 0)), "strides 0 is below 1"),
        (dict(mlp_ratio=0), r"mlp_ratio 0 is not in \(0, 1000\)"),
        (dict(mlp_ratio=float("inf")), r"mlp_ratio inf is not in \(0, 1000\)"),
        (dict(drop_path=2), r"drop_path 2 is not in \[0, 1\)"),
        (dict(drop_path=float("nan")), r"drop_path nan is not in \[0, 1\)"),
    ],
)
def test_what_is_said(given, says):
    with pytest.raises(ValueError, match=says):
        sf.create_model("spikformer_8_384", **given)


def test_a_stage_may_have_no_blocks_but_not_fewer():
    with pytest.raises(ValueError, match="depths -1 is below 0"):
        sf.create_model("qkformer_10_384", depths=(1, -1, 7))


def test_a_builder_of_ones_own_has_its_own_numbers(tmp_path):
    (tmp_path / "own.py").write_text(
        "import spikeformers as sf\n"
        "def own(*, shift: int = -1, dim: int = 8):\n"
        "    return sf.create_model('spikformer', dim=dim, depth=1, num_heads=1)\n"
    )
    assert sf.create_model(f"{tmp_path}/own.py:own", shift=0).config["shift"] == 0
    with pytest.raises(ValueError, match="dim 0 is below 1"):
        sf.create_model(f"{tmp_path}/own.py:own", dim=0)


def test_pretrained_may_be_said_to_be_none():
    tiny = dict(dim=8, depth=1, num_heads=1, image_size=16)
    for nothing in (None, False):
        assert sf.create_model("spikformer", pretrained=nothing, **tiny).num_classes == 1000
    with pytest.raises(ValueError, match="comes without weights: give a weight file, pretrained=PATH"):
        sf.create_model("spikformer", pretrained=True, **tiny)


def test_a_family_is_no_size():
    with pytest.raises(ValueError, match="spikformer is a family, not a size: choose one of spikformer_8_384, "):
        sf.models.describe_model("spikformer")
