"""What people do to a module before they run it: another memory format, dtype or device, a copy, a pickle."""

import copy
import importlib
import inspect
import io
import pickle
from functools import partial

import pytest
import torch
from tiny_models import FAMILIES, build

import spikeformers as sf
from spikeformers import neurons
from spikeformers.layers.attention import DSSA
from spikeformers.layers.conv import ConvNorm, PooledConvNorm
from spikeformers.layers.layer_scale import LayerScale
from spikeformers.layers.mlp import InnerResidualMLP
from spikeformers.neurons import LIF, SpikingJellyNeuron

MOVES = {
    "channels_last": lambda module: module.to(memory_format=torch.channels_last),
    "half": lambda module: module.half(),
    "double": lambda module: module.double(),
    "meta": lambda module: module.to("meta"),
    "deepcopy": copy.deepcopy,
    "pickle": lambda module: pickle.loads(pickle.dumps(module)),
    "torch.save": lambda module: saved(module),
}
CALLS = {
    "attention": lambda part: part(8, 2, LIF),
    "projection": lambda part: part(8, 8),
    "mlp": lambda part: part(8, 8 if part is InnerResidualMLP else 16, LIF),
    "position": lambda part: part(8),
    "shortcut": lambda part: part(ConvNorm(8, 8), LIF),
    "stem": lambda part: part(8, 8, LIF, (2, 1)),
    "head": lambda part: part(8, 3, LIF),
}
every_move = pytest.mark.parametrize("move", MOVES.values(), ids=MOVES)


def saved(module):
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def parts():
    """Every part that a slot knows by name, by the least it is called with."""
    for slot, call in CALLS.items():
        module = importlib.import_module(f"spikeformers.layers.{slot}")
        for name, part in inspect.getmembers(module, inspect.isclass):
            if part.__module__.startswith(module.__name__) and not name.startswith("_"):
                yield pytest.param(lambda part=told(part), call=call: call(part), id=name)
    for name, neuron in inspect.getmembers(neurons, inspect.isclass):
        if neuron is not SpikingJellyNeuron:
            yield pytest.param(lambda neuron=told(neuron): neuron(), id=name)
    yield pytest.param(lambda: PooledConvNorm(8, 8, 3, 2), id="PooledConvNorm")
    yield pytest.param(lambda: LayerScale(ConvNorm(8, 8), 8), id="LayerScale")


def told(part):
    """A part that is told the numbers of steps and tokens where it asks for them."""
    asked = {k: v for k, v in {"time_steps": 2, "tokens": 16}.items() if k in inspect.signature(part).parameters}
    return partial(part, **asked) if asked else part


def same_after(move, module, x):
    """Whether a moved module still runs, and gives what it gave where nothing but its place changed."""
    module.eval()
    before = module(x)
    moved = move(module).eval()
    kind = next((t for t in moved.parameters()), x)
    after = moved(x.to(kind.device, kind.dtype))
    assert after.shape == before.shape
    assert after.dtype == kind.dtype
    return after.is_meta or kind.dtype != before.dtype or torch.allclose(after, before, atol=1e-5)


@every_move
@pytest.mark.parametrize("make", list(parts()))
def test_every_part(move, make):
    assert same_after(move, make(), torch.poisson(torch.rand(2, 3, 8, 4, 4)))


@every_move
@pytest.mark.parametrize("tiny", FAMILIES, indirect=True)
def test_every_family(move, tiny):
    model, x = tiny
    assert same_after(move, model, x)


@pytest.mark.parametrize("move", ["channels_last", "pickle"])
@pytest.mark.parametrize("head", ["retinanet", "mask_rcnn", "fpn"])
def test_every_head(move, head):
    small = dict(dims=(32, 32, 64), num_heads=(1, 1, 2), depths=(1, 1, 1), image_size=16, time_steps=2, neck_dim=8)
    model = sf.create_model(f"{head}_spikingresformer_ti_cifar10", **small, num_classes=2, pyramid=(2, 4, 8)).eval()
    x = torch.randn(2, 3, 16, 16)
    before = model.forward_outputs(x)
    for name, y in MOVES[move](model).eval().forward_outputs(x).items():
        assert torch.allclose(y, before[name], atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("head", ["retinanet", "mask_rcnn", "fpn"])
def test_every_head_answers_in_16_bits(head, dtype):
    small = dict(dims=(32, 32, 64), num_heads=(1, 1, 2), depths=(1, 1, 1), image_size=16, time_steps=2, neck_dim=8)
    model = sf.create_model(f"{head}_spikingresformer_ti_cifar10", **small, num_classes=2, pyramid=(2, 4, 8)).eval()
    found = model.to(dtype)(torch.randn(2, 3, 16, 16, dtype=dtype))
    assert len(found) == 2


@pytest.mark.parametrize("name", FAMILIES)
def test_no_tensor_of_a_model_has_five_axes(name):
    model = build(name)
    assert all(t.ndim <= 4 for t in (*model.parameters(), *model.buffers()))


def test_rates_are_kept_in_files_as_they_are_published():
    dssa = DSSA(8, 2, LIF).train()
    dssa(torch.poisson(torch.rand(2, 3, 8, 4, 4)))
    state = dssa.state_dict()
    assert state["x_rate"].shape == state["attn_rate"].shape == (1, 1, 2, 1, 1)
    again, flat = DSSA(8, 2, LIF), DSSA(8, 2, LIF)
    again.load_state_dict(state)
    flat.load_state_dict(dict(dssa.named_parameters()) | dict(dssa.named_buffers()))
    assert torch.equal(again.x_rate, dssa.x_rate)
    assert torch.equal(flat.x_rate, dssa.x_rate)
    with pytest.raises(RuntimeError, match="x_rate"):
        DSSA(8, 4, LIF).load_state_dict(state)
