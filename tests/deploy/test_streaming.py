"""Models one frame at a time: equal to the whole sequence, resettable by sample, and refused by name."""

import functools

import pytest
import torch
from tiny_models import FAMILIES
from torch import nn

import spikeformers as sf
from spikeformers.deploy.stream import Stream
from spikeformers.neurons import LIF, from_spikingjelly

SMALL = dict(dim=16, depth=1, num_heads=2, strides=(2, 2), time_steps=4, image_size=16, num_classes=3)


class Loop(nn.Module):
    """A neuron as it is first written: forward only."""

    levels = (0.0, 1.0)

    def __init__(self, *, v_threshold=1.0):
        super().__init__()
        self.v_threshold = v_threshold

    def forward(self, x):
        v, spikes = torch.zeros_like(x[0]), []
        for now in x:
            s, v = self.fires(now, v)
            spikes.append(s)
        return torch.stack(spikes)

    def fires(self, x, v):
        v = v + x
        s = (v >= self.v_threshold).to(x.dtype)
        return s, v - s


class WithStep(Loop):
    remembers = ("v",)

    def initial(self, x):
        return (torch.zeros_like(x),)

    def step(self, x, v):
        return self.fires(x, v)


class Sign(Loop):
    """Without a membrane."""

    def forward(self, x):
        return (x >= self.v_threshold).to(x.dtype)


class Running(nn.Module):
    """Attention of one's own that averages over the steps so far."""

    def __init__(self, dim, num_heads, neuron, *, bias=False):
        super().__init__()
        self.neuron = neuron()

    def forward(self, x):
        return self.neuron(x.cumsum(0))


def answers(step, frames, state=None):
    state, logits = state or step.initial(frames.shape[1], tuple(frames.shape[-2:])), []
    for frame in frames:
        y, state = step(frame, state)
        logits.append(y)
    return torch.stack(logits), state


def lively_model(lively, **parts):
    model = sf.create_model("spikformer", **{**SMALL, **parts})
    return lively(model, torch.randn(8, 3, 16, 16))


@pytest.mark.parametrize("tiny", FAMILIES, indirect=True)
def test_every_family_answers_as_for_the_whole_sequence(tiny):
    model, x = tiny
    model, x = model.double(), x.double()
    frames = x if x.ndim == 5 else torch.randn(4, *x.shape, dtype=torch.float64)
    step = sf.deploy.streaming(model)
    logits, state = answers(step, frames)
    with torch.no_grad():
        torch.testing.assert_close(logits, model.forward_steps(frames), rtol=1e-14, atol=1e-14)
        torch.testing.assert_close(step.mean(state), model(frames), rtol=1e-14, atol=1e-14)  # its sum has another order
    assert logits.std(0).max() > 0  # memory matters
    assert all(len(kept) == 3 for kept in state) and len(step.names) == len(state)


@pytest.mark.parametrize(
    "parts",
    [
        dict(attention="TIM", position="CPGPosition", neuron="GLIF"),
        dict(attention="CausalSSA", neuron="SlidingPSN"),
        dict(attention="TimeMixSSA", neuron="CLIF"),
        dict(neuron=from_spikingjelly("ParametricLIFNode")),
        dict(neuron=WithStep),
        dict(neuron=Sign),
    ],
    ids=lambda parts: "-".join(map(str, parts.values()))[:40],
)
def test_parts_that_mix_steps(parts, lively):
    model = lively_model(lively, **parts).double()
    frames = torch.randn(4, 2, 3, 16, 16, dtype=torch.float64)
    with torch.no_grad():
        assert torch.equal(answers(sf.deploy.streaming(model), frames)[0], model.forward_steps(frames))


def test_in_float32_up_to_rounding_and_an_image_at_every_step(lively):
    model = lively_model(lively)
    images = torch.randn(3, 3, 16, 16)
    step = sf.deploy.streaming(sf.deploy.fold(model))
    _, state = answers(step, images.expand(4, *images.shape))
    torch.testing.assert_close(step.mean(state), model(images), rtol=1e-4, atol=1e-4)


def test_counts_as_binary_steps_run_in_a_stream(lively):
    binary = sf.deploy.unroll(lively_model(lively, neuron="ILIF")).double()
    frames = torch.randn(3, 2, 3, 16, 16, dtype=torch.float64)
    assert torch.allclose(answers(sf.deploy.streaming(binary), frames)[0], binary.forward_steps(frames))


def test_a_step_changes_nothing_but_what_it_returns(lively):
    model = lively_model(lively).train()
    step, frame = sf.deploy.streaming(model), torch.randn(2, 3, 16, 16)
    _, state = step(frame, step.initial(2))
    before = [kept.clone() for kept in state]
    first, second = step(frame, state), step(frame, state)
    assert torch.equal(first[0], second[0]) and not first[0].requires_grad
    assert all(torch.equal(kept, was) for kept, was in zip(state, before, strict=True))
    assert model.training and not any("forward" in vars(part) for part in model.modules())
    with torch.no_grad():
        model.head.linear.bias.add_(1)  # weights are shared
    assert torch.allclose(step(frame, state)[0], first[0] + 1)


@pytest.mark.parametrize(
    "parts", [dict(attention="TIM", neuron="GLIF", position="CPGPosition"), dict(attention="CausalSSA")]
)
def test_samples_begin_anew(lively, parts):
    model = lively_model(lively, **parts).double()
    step, frames = sf.deploy.streaming(model), torch.randn(4, 3, 3, 16, 16, dtype=torch.float64)
    _, state = answers(step, frames[:2])
    marked = torch.tensor([False, True, False])
    for samples in ([1], torch.tensor([1]), marked):
        logits, after = answers(step, frames[2:], step.reset(state, samples))
        with torch.no_grad():
            whole, late = model.forward_steps(frames)[2:], model.forward_steps(frames[2:])
        assert torch.equal(logits, torch.where(marked[:, None], late, whole))
    assert after[1].flatten().tolist() == [4, 2, 4]
    assert all(torch.equal(kept, same) for kept, same in zip(step.reset(state, []), state, strict=True))


def test_other_sizes(lively):
    model = lively_model(lively)
    step = sf.deploy.streaming(model)
    frames = torch.randn(2, 1, 3, 8, 24)
    logits, _ = answers(step, frames)
    assert torch.allclose(logits, model.forward_steps(frames), atol=1e-5)


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        (dict(neuron="PSN"), r"PSN \(.*neuron\) looks ahead in time, .* use another, such as neuron=SlidingPSN"),
        (dict(attention="STAtten"), r"STAtten \(.*core\) looks ahead in time, .* such as attention=CausalSSA"),
        (dict(neuron=Loop), r"Loop \(stem.stages.0.neuron\) .* at step 1\. It has no step: give it remembers, initial"),
        (dict(attention=Running), r"Running \(blocks.0.attn.core\) .* It has no step: give it remembers"),
    ],
)
def test_refused_by_name(parts, says):
    with pytest.raises(ValueError, match=says):
        sf.deploy.streaming(sf.create_model("spikformer", **SMALL, **parts))


def test_refusals(lively):
    with pytest.raises(ValueError, match="a Linear cannot run step by step: give a model of sf"):
        sf.deploy.streaming(nn.Linear(2, 2))
    step = sf.deploy.streaming(lively_model(lively, neuron=functools.partial(LIF, tau=3.0)))
    assert isinstance(step, Stream) and step.names[:3] == ("logits.sum", "logits.count", "stem.stages.0.neuron.v")
    state, frame = step.initial(2), torch.randn(2, 3, 16, 16)
    for wrong, says in (
        (lambda: step(frame[None], state), r"shape \[1, 2, 3, 16, 16\] is not \[B, C, H, W\]: a step takes one frame"),
        (lambda: step(frame[:1], state), r"the frame has 1 samples and the state 2: begin with step.initial\(1\)"),
        (lambda: step(frame[:, :2], state), "has 2 channels, the model takes 3"),
        (lambda: step(frame, state[:-1]), "the state, of .* tensors, is not one of this model's: begin with step.init"),
        (lambda: step.reset(state, [2]), r"samples \[2\] are not all in 0 to 1, the state's"),
        (lambda: step.reset(state, torch.ones(3).bool()), r"samples of shape \[3\] do not mark 2 samples: give \[2\]"),
        (lambda: step.initial(0), "batch_size 0 is below 1"),
        (lambda: step.initial(1, 9), "not a multiple of the stem's stride 4: resize it to 12 x 12"),
    ):
        with pytest.raises(ValueError, match=says):
            wrong()
