"""Every number that a public constructor takes: a wrong one is refused in a line that names it."""

import importlib
import inspect
import typing
from collections.abc import Sequence

import pytest
import torch
from torch import nn

from spikeformers import neurons
from spikeformers.layers.conv import ConvNorm, PooledConvNorm
from spikeformers.layers.conv_chain import ConvChain
from spikeformers.layers.downsample import MembraneDownsample
from spikeformers.layers.drop_path import DropPath
from spikeformers.layers.layer_scale import LayerScale
from spikeformers.layers.masking import MaskedNorm, Visible
from spikeformers.layers.mlp import InnerResidualMLP
from spikeformers.layers.pool import MaxPool
from spikeformers.layers.sew_downsample import SEWDownsample
from spikeformers.models.network import SpikingTransformer
from spikeformers.neurons import LIF, SpikingJellyNeuron
from spikeformers.ops import surrogate

BAD = (float("nan"), float("inf"), 0, -1, "two", None)
SLOTS = ("attention", "projection", "mlp", "position", "shortcut", "stem", "head", "quantizer")
OTHERS = (
    ConvNorm, PooledConvNorm, ConvChain, MembraneDownsample, SEWDownsample, DropPath, LayerScale, MaskedNorm, MaxPool,
)  # fmt: skip
# What constructors cannot do without.
NEEDED = {
    "dim": 8, "in_dim": 8, "hidden_dim": 16, "in_channels": 8, "num_heads": 2, "num_classes": 3, "time_steps": 2,
    "strides": (2, 1), "kernel_size": 3, "neuron": LIF, "visible": Visible(), "scale": 0.5, "weight": torch.randn(2, 3),
}  # fmt: skip
ALSO_NAMED = {"rate": "drop_path", "attn_threshold": "v_threshold"}  # by what they are called where they end up


def public():
    for slot in SLOTS:
        module = importlib.import_module(f"spikeformers.layers.{slot}")
        for _, part in inspect.getmembers(module, inspect.isclass):
            if part.__module__.startswith(module.__name__) and not part.__name__.startswith("_"):
                yield part
    yield from (n for _, n in inspect.getmembers(neurons, inspect.isclass) if n is not SpikingJellyNeuron)
    yield from (surrogate.Sigmoid, surrogate.ATan, surrogate.Triangle, *OTHERS)


def numbers_of(make):
    """The names of arguments that are numbers or lists of them."""
    hints = typing.get_type_hints(make.__init__)
    for name in inspect.signature(make).parameters:
        kinds = [hints.get(name), *typing.get_args(hints.get(name))]
        if any(kind in (int, float, Sequence[int]) for kind in kinds) or (make is MaxPool and typing.Any in kinds):
            yield name


def built(make, **arguments):
    parameters = inspect.signature(make).parameters
    needed = {name: value for name, value in NEEDED.items() if name in parameters}
    if "core" in parameters:
        needed["core"] = nn.Identity() if make is LayerScale else ConvNorm(8, 8, 3, 2 if make is SEWDownsample else 1)
    if make is InnerResidualMLP:
        needed["hidden_dim"] = 8
    return make(**{**needed, **arguments})


def run(make, thing):
    if make in (surrogate.Sigmoid, surrogate.ATan, surrogate.Triangle):
        return thing(torch.randn(5))
    x = torch.poisson(torch.rand(2, 3, 8, 8, 8))
    return thing(x.flatten(0, 1) if make in (MaxPool, MaskedNorm) else x)


CASES = [(make, name) for make in public() for name in numbers_of(make)]


@pytest.mark.parametrize(("make", "name"), CASES, ids=[f"{make.__name__}-{name}" for make, name in CASES])
def test_a_wrong_number_is_refused_or_runs(make, name):
    assert run(make, built(make)).isfinite().all()  # as it is
    takes = typing.get_type_hints(make.__init__)[name]
    many = typing.get_origin(takes) is Sequence
    for bad in (*BAD, *((2, wrong) for wrong in BAD if many)):
        try:
            thing = built(make, **{name: bad})
            answer = run(make, thing)
        except (ValueError, TypeError) as error:
            message = str(error)
            assert "\n" not in message
            assert name in message or ALSO_NAMED.get(name, name) in message, f"{bad!r}: {message}"
            continue
        assert bad != "two", "a word is no number"
        assert isinstance(bad, int) or bad is None, f"{bad!r} builds"
        assert answer.isfinite().all(), bad


@pytest.mark.parametrize("bad", BAD)
def test_steps_and_sizes_of_a_model(bad):
    ends = dict(stem=nn.Identity(), blocks=[], head=nn.Identity())
    for name in ("time_steps", "image_size"):
        with pytest.raises(ValueError, match=rf"^{name} .*: .*$"):
            SpikingTransformer(**ends, **{"time_steps": 2, "image_size": 8, name: bad})


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), "two"])
def test_a_threshold_for_spikingjellys(bad):
    with pytest.raises(ValueError, match=r"^v_threshold .* is not a finite number"):
        SpikingJellyNeuron("LIFNode", v_threshold=bad)


def test_a_module_that_is_not_there_is_not_spikingjelly():
    with pytest.raises(ImportError, match=r"^none_such:Mine cannot be imported .*: give MODULE:CLASS of a module"):
        SpikingJellyNeuron("none_such:Mine")


def test_a_whole_threshold_for_spikingjellys():
    x = 2 * torch.randn(4, 50)
    assert torch.equal(SpikingJellyNeuron("LIFNode", v_threshold=1)(x), SpikingJellyNeuron("LIFNode")(x))
