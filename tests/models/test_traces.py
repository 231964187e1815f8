"""Models traced, exported, scripted, and under the transforms of `torch.func`: what eager computes, or one line."""

import io
import typing

import pytest
import torch
from tiny_models import FAMILIES, build
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, jvp, stack_module_state, vmap
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.functional import cross_entropy

import spikeformers as sf
from spikeformers.neurons import LIF
from spikeformers.ops.lif import lif
from spikeformers.ops.surrogate import Sigmoid, spike

every_family = pytest.mark.parametrize("tiny", FAMILIES, indirect=True)
LABELS = torch.arange(3)


def a_sample(x, i):
    """One image, or one clip, of a batch that it still is."""
    return x[..., i : i + 1, :, :, :]


def states(model):
    return {k: p.detach() for k, p in model.named_parameters()}, dict(model.named_buffers())


@every_family
def test_a_trace_of_one_sample_runs_on_others(tiny):
    model, x = tiny
    traced = torch.jit.trace(model, a_sample(x, 0), check_trace=False)  # as people do it, without no_grad
    with torch.no_grad():
        assert torch.allclose(traced(x), model(x), atol=1e-5)


@pytest.mark.parametrize("tiny", ["spikformer"], indirect=True)
def test_a_trace_without_gradients_is_saved(tiny):
    model, x = tiny
    with torch.no_grad():
        traced = torch.jit.trace(model, a_sample(x, 0), check_trace=False)
        assert "isfinite" not in str(traced.inlined_graph)  # which only derivatives need
        file = io.BytesIO()
        torch.jit.save(traced, file)
        file.seek(0)
        assert torch.allclose(torch.jit.load(file)(x), model(x), atol=1e-5)


@pytest.mark.parametrize("tiny", ["spikformer"], indirect=True)
def test_a_trace_has_gradients(tiny):
    model, x = tiny
    traced = torch.jit.trace(model, a_sample(x, 0), check_trace=False)
    expected = torch.autograd.grad(model(x).square().sum(), list(model.parameters()))
    found = torch.autograd.grad(traced(x).square().sum(), list(model.parameters()))
    assert all(torch.allclose(a, b, rtol=1e-3, atol=1e-4) for a, b in zip(found, expected, strict=True))


def test_a_trace_of_one_image_at_all_steps_takes_any_sequence(lively):
    model = build("spikformer")
    lively(model, torch.randn(2, 3, 16, 16))
    frames = torch.randn(2, 2, 3, 16, 16)
    traced = torch.jit.trace(model, frames[0].expand(2, 2, 3, 16, 16), check_trace=False)
    assert torch.allclose(traced(frames), model(frames), atol=1e-5)
    with torch.no_grad():
        program = torch.export.export(model, (frames[0].expand(2, 2, 3, 16, 16),))
    assert torch.allclose(program.module()(frames), model(frames), atol=1e-5)


@every_family
@pytest.mark.parametrize("training", [False, True])
def test_func_grad_is_autograds(tiny, training):
    model, x = tiny
    model.train(training)
    parameters, buffers = states(model)
    buffers = {k: b.clone() for k, b in buffers.items()}
    found = grad(lambda p, b: cross_entropy(functional_call(model, (p, b), (x,)), LABELS))(parameters, buffers)
    cross_entropy(model(x), LABELS).backward()
    for name, p in model.named_parameters():
        assert torch.allclose(found[name], p.grad, rtol=1e-3, atol=1e-4 * max(1, p.grad.abs().max())), name


@every_family
def test_vmap_over_inputs_is_a_loop(tiny):
    model, x = tiny
    axis = x.ndim - 4
    found = vmap(lambda one: model(one.unsqueeze(axis))[0], in_dims=axis)(x)
    assert torch.allclose(found, model(x), atol=1e-5)


@pytest.mark.parametrize("tiny", ["spikformer", "sdt_v3", "qkformer"], indirect=True)
def test_gradients_of_each_sample(tiny):
    model, x = tiny
    parameters, buffers = states(model)

    def loss(p, one, label):
        return cross_entropy(functional_call(model, (p, buffers), (one[None],)), label[None])

    found = vmap(grad(loss), in_dims=(None, 0, 0))(parameters, x, LABELS)
    for i in range(3):
        expected = torch.autograd.grad(cross_entropy(model(x[i : i + 1]), LABELS[i : i + 1]), list(model.parameters()))
        for (name, of_all), alone in zip(found.items(), expected, strict=True):
            assert torch.allclose(of_all[i], alone, rtol=1e-3, atol=1e-4 * max(1, alone.abs().max())), name


@every_family
def test_an_ensemble_is_a_loop(tiny, request, lively):
    model, x = tiny
    models = [model, lively(build(request.node.callspec.params["tiny"]), x)]
    together = vmap(lambda p, b: functional_call(model, (p, b), (x,)))(*stack_module_state(models))
    for of_all, member in zip(together, models, strict=True):
        assert torch.allclose(of_all, member(x), atol=1e-5)


@pytest.mark.parametrize("tiny", ["spikformer", "sdt_v3", "spikingresformer"], indirect=True)
def test_forward_mode_is_the_transpose_of_backward_mode(tiny):
    model, x = tiny
    tangent, weights = torch.randn(x.shape), torch.randn(3, model.num_classes)
    _, forwards = jvp(model, (x,), (tangent,))
    seen = x.clone().requires_grad_()
    (backwards,) = torch.autograd.grad((model(seen) * weights).sum(), seen)
    assert torch.allclose((forwards * weights).sum(), (backwards * tangent).sum(), rtol=1e-3)
    with forward_ad.dual_level():
        dual = forward_ad.unpack_dual(model(forward_ad.make_dual(x, tangent)))
    assert torch.allclose(dual.tangent, forwards, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["spikformer", "qkformer"])
def test_a_lean_model_is_transformed_and_traced(name, lively):
    model = build(name)
    x = torch.randn(3, model.in_channels, model.image_size, model.image_size)
    lively(sf.lean(model), x)
    parameters, buffers = states(model)
    found = grad(lambda p: functional_call(model, (p, buffers), (x,)).square().sum())(parameters)
    model(x).square().sum().backward()
    for name, p in model.named_parameters():
        assert torch.allclose(found[name], p.grad, rtol=1e-3, atol=1e-4 * max(1, p.grad.abs().max())), name
    assert torch.allclose(torch.jit.trace(model, x[:1], check_trace=False)(x), model(x), atol=1e-5)


def test_second_derivatives_of_a_spike():
    neuron, x, surrogate = LIF(), torch.randn(3, 4, dtype=torch.float64), Sigmoid()
    found = hessian(lambda u: (spike(u, surrogate) * torch.arange(4)).sum())(x[0])
    expected = hessian(lambda u: (torch.sigmoid(surrogate.alpha * u) * torch.arange(4)).sum())(x[0])
    assert torch.allclose(found, expected)
    assert hessian(lambda x: neuron(x).square().sum())(x).isfinite().all()


def test_a_spike_of_what_is_not_finite_is_what_it_is_eagerly():
    u = torch.tensor([torch.inf, -torch.inf, 1.0, -1.0])
    assert vmap(lambda u: spike(u, Sigmoid()))(u).tolist() == spike(u, Sigmoid()).tolist() == [1, 0, 1, 0]
    assert grad(lambda u: spike(u, Sigmoid()).sum())(u).isfinite().all()


# Seconds per family, of the older exporter: two of them every time, the others by hand.
@pytest.mark.parametrize(
    "tiny",
    [pytest.param(n, marks=() if n in ("spikformer", "sew_resnet") else pytest.mark.slow) for n in FAMILIES],
    indirect=True,
)
def test_onnx_by_tracing(tiny):
    import onnxruntime

    model, x = tiny
    file = io.BytesIO()
    axis = x.ndim - 4
    torch.onnx.export(
        model, (a_sample(x, 0),), file, dynamo=False, input_names=["x"], output_names=["y"],
        dynamic_axes={"x": {axis: "batch"}, "y": {0: "batch"}},
    )  # fmt: skip
    session = onnxruntime.InferenceSession(file.getvalue())
    (logits,) = session.run(None, {"x": x.numpy()})
    assert torch.allclose(torch.from_numpy(logits), model(x), atol=1e-5)


def test_other_ways_of_looking_on():
    """A graph by make_fx, and a subclass of Tensor, which sees every operation."""

    class Watched(torch.Tensor):
        seen: typing.ClassVar = []

        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            cls.seen.append(getattr(func, "__name__", ""))
            return super().__torch_function__(func, types, args, kwargs)

    x = torch.randn(3, 5, 4)
    assert torch.equal(make_fx(lambda x: lif(x))(x[:, :1].clone())(x[:, :1]), lif(x[:, :1]))
    graph = str(make_fx(lambda x: lif(x))(x.clone().requires_grad_()).graph)
    assert "empty" not in graph and "lerp" not in graph
    assert torch.equal(lif(x.as_subclass(Watched)).as_subclass(torch.Tensor), lif(x))
    assert "stack" in Watched.seen


def test_what_cannot_be_is_refused_in_one_line():
    model, x = build("spikformer"), torch.randn(2, 3, 16, 16)
    with pytest.raises(TypeError, match=r"^torch.jit.script does not support this model: use torch.jit.trace.*$"):
        torch.jit.script(model)
    with pytest.raises(TypeError, match=r"^the model takes a Tensor and got a Proxy.* torch.export.export .*$"):
        torch.fx.symbolic_trace(model)
    with pytest.raises(ValueError, match=r"^lif's recompute cannot be traced.*: use backend='auto'$"):
        vmap(lambda x: lif(x, backend="recompute"))(x)
    assert torch.equal(vmap(lambda x: lif(x, backend="reference"))(x), torch.stack([lif(one) for one in x]))


def test_compilers_are_left_the_plain_way():
    """The reference in their graphs, whose spikes keep their autograd function."""
    seen = []

    def look(graph, inputs):
        seen.append(" ".join(str(node.target) for node in graph.graph.nodes if node.op == "call_function"))
        return graph

    x = torch.randn(3, 2, requires_grad=True)
    torch.compile(LIF(), fullgraph=True, backend=look)(x)
    assert "autograd_function_apply" in seen[0]
    assert "stack" in seen[0]
    assert not any(word in seen[0] for word in ("lerp", "empty", "isfinite"))
