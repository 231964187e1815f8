"""What every model keeps to: every registered size by its numbers, a tiny one of every family by running it."""

import io
import json
from pathlib import Path

import pytest
import torch
from norm_layout import check_layout, last
from tiny_models import FAMILIES, TINY, build
from torch.nn.functional import cross_entropy

import spikeformers as sf
from spikeformers.models.registry import _FAMILIES, find_family
from spikeformers.training.module import channels_last

every_size = pytest.mark.parametrize("name", sf.list_models())
every_tiny = pytest.mark.parametrize("tiny", TINY, indirect=True)
every_family = pytest.mark.parametrize("tiny", FAMILIES, indirect=True)


def sequence(model, x):
    return x if x.ndim == 5 else torch.randn(5, *x.shape)


def test_every_family_has_a_tiny_member():
    mae = {name for name in _FAMILIES if name.endswith("_mae")}  # without logits, and with tests of their own
    assert set(FAMILIES) | mae == set(_FAMILIES)


@every_size
def test_published_parameters(name):
    with torch.device("meta"):
        model = sf.create_model(name)
    assert sum(p.numel() for p in model.parameters()) == find_family(name).published[name].parameters


@every_size
def test_config_rebuilds_the_model(name):
    with torch.device("meta"):
        model = sf.create_model(name)
        again = sf.create_model(**json.loads(json.dumps(model.config)))
    assert again.config == model.config
    assert repr(again) == repr(model)
    assert {k: v.shape for k, v in again.state_dict().items()} == {k: v.shape for k, v in model.state_dict().items()}


@every_tiny
def test_says_what_it_takes(tiny):
    model, x = tiny
    assert model.in_channels == x.shape[-3]
    assert model(x).shape == (3, model.num_classes)
    assert model.forward_steps(x).shape == (4 if x.ndim == 5 else model.time_steps, 3, model.num_classes)


@every_tiny
def test_gradients_are_finite(tiny, parameters_without_gradient):
    model, x = tiny
    assert parameters_without_gradient(model, x) == []


@pytest.mark.parametrize("neuron", ["LIF", "IntegerHalfEven"])
@pytest.mark.parametrize("name", TINY)
def test_training_keeps_one_layout(name, neuron):
    model = channels_last(build(name, neuron=neuron))
    images = torch.rand(2, model.in_channels, model.image_size, model.image_size)
    check_layout(model(last(images)).square().sum())


@every_tiny
def test_keeps_no_state(tiny):
    model, x = tiny
    first = model(x)
    model(sequence(model, x)[:1])
    assert torch.equal(model(x), first)


@every_tiny
def test_a_sample_alone_is_that_sample_in_a_batch(tiny):
    model, x = tiny
    together = model(x)
    alone = torch.cat([model(x[..., i : i + 1, :, :, :]) for i in range(3)])
    assert torch.allclose(alone, together, atol=1e-5)
    assert together.std(0).min() > 1e-3


@every_tiny
def test_nothing_before_a_change_changes(tiny):
    model, x = tiny
    frames = sequence(model, x)
    changed = torch.cat([frames[:2], frames[2:].flip(-1)])
    before, after = model.forward_steps(frames), model.forward_steps(changed)
    assert torch.equal(before[:2], after[:2])
    assert not torch.allclose(before[2:], after[2:], atol=1e-3)


@every_tiny
def test_an_image_is_shown_at_every_step_and_a_sequence_brings_its_own(tiny):
    model, x = tiny
    image = sequence(model, x)[0]
    shown = model.forward_steps(image)
    assert len(shown) == model.time_steps
    assert torch.equal(shown, model.forward_steps(image.expand(model.time_steps, *image.shape)))
    assert torch.equal(shown, model.forward_steps(image.expand(5, *image.shape))[: model.time_steps])


@every_tiny
def test_the_three_forwards_agree(tiny):
    model, x = tiny
    steps = model.forward_steps(x)
    assert torch.equal(model(x), steps.mean(0))
    assert all(head.shape == steps.shape for head in model.forward_heads(x))
    assert torch.allclose(torch.stack(model.forward_heads(x)).mean(0), steps)


@every_tiny
def test_drop_path_is_for_training(request, tiny):
    model, x = tiny
    dropping = build(request.node.callspec.params["tiny"], drop_path=0.5)
    dropping.load_state_dict(model.state_dict())
    assert torch.equal(dropping.eval()(x), model(x))
    dropping.train()
    assert not torch.equal(dropping.forward_features(x), dropping.forward_features(x))
    cross_entropy(dropping(x), torch.arange(3)).backward()
    assert all(p.grad.isfinite().all() for p in dropping.parameters())


@every_tiny
def test_bf16_autocast(tiny):
    model, x = tiny
    with torch.autocast("cpu", torch.bfloat16):
        logits = model.train()(x)
    cross_entropy(logits.float(), torch.arange(3)).backward()
    assert logits.dtype == torch.bfloat16
    assert all(p.grad.isfinite().all() and p.grad.dtype == torch.float32 for p in model.parameters())


@pytest.mark.parametrize("name", TINY)
def test_keys_are_public(name):
    keys = (Path(__file__).parent / "keys" / f"{name}.txt").read_text().split()
    assert sorted(build(name).state_dict()) == keys


@pytest.mark.parametrize("name", TINY)
def test_fresh_and_dark_is_finite(name):
    model = build(name)
    dark = torch.zeros(2, model.in_channels, model.image_size, model.image_size)
    assert model.eval()(dark).isfinite().all()
    assert model(torch.randn_like(dark)).isfinite().all()
    assert model.train()(dark).isfinite().all()
    assert model.eval()(dark).isfinite().all()  # with the statistics of darkness


@pytest.mark.parametrize("name", TINY)
def test_wrong_inputs(name):
    model = build(name)
    size, channels = model.image_size, model.in_channels
    with pytest.raises(ValueError, match=r"neither images \[B, C, H, W\] nor .*: add the batch axis"):
        model(torch.zeros(channels, size, size))
    with pytest.raises(ValueError, match=rf"has 5 channels, the model takes {channels}: .*in_channels=5"):
        model(torch.zeros(1, 5, size, size))
    with pytest.raises(ValueError, match="time_steps 0 is below 1"):
        build(name, time_steps=0)


def some_of_every_family(*often):
    """Tiny models of these families in every run, of the others by hand."""
    marked = [pytest.param(name, marks=() if name in often else pytest.mark.slow) for name in FAMILIES]
    return pytest.mark.parametrize("tiny", marked, indirect=True)


# Seven seconds per family, and tests/deploy/test_engine.py exports them all: those with operations of their own.
@some_of_every_family("spikformer", "spikingresformer", "sdt_v3", "msvit", "swformer")
def test_export_after_training(tiny):
    model, x = tiny
    model.train()(x).sum().backward()
    model.eval()
    batch = {x.ndim - 4: torch.export.Dim("batch")}
    program = torch.export.export(model, (x,), dynamic_shapes=(batch,))
    one = x[..., :2, :, :, :]
    assert torch.equal(program.module()(one), model(one))


# Ten seconds per family, and a minute for sdt_v2: those with operations of their own. tests/deploy has spikformer.
@some_of_every_family("spikingresformer", "sdt_v3", "msvit", "swformer")
def test_onnx(tiny):
    import onnxruntime

    model, x = tiny
    file = io.BytesIO()
    torch.onnx.export(model, (x,), file, dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(file.getvalue())
    (logits,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    agree = torch.isclose(torch.from_numpy(logits), model(x), atol=1e-5).all(1)
    assert agree.sum() >= len(agree) - 1  # of one, rounding may flip a spike


# Ten seconds per family: the one with buffers of its own.
@some_of_every_family("spikingresformer")
def test_compile(tiny):
    model, x = tiny
    results = []
    for forward in (model, torch.compile(model, fullgraph=True, backend="aot_eager")):
        model.zero_grad()
        logits = forward(x)
        logits.sum().backward()
        results.append([logits, *(p.grad.clone() for p in model.parameters())])
    assert all(torch.allclose(eager, compiled, atol=1e-5) for eager, compiled in zip(*results, strict=True))
