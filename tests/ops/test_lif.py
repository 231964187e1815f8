"""Every way to compute `lif` against the reference, and the reference against figures worked out by hand."""

import itertools
import math

import pytest
import torch

from spikeformers.layers.conv import ConvNorm
from spikeformers.layers.norm import batch_norm
from spikeformers.ops.lif import _choose, lif, native
from spikeformers.ops.notes import Recipe, noted
from spikeformers.ops.spike_product import kernels
from spikeformers.ops.surrogate import ATan, Sigmoid, Triangle

FAST = ["recompute", "auto"]  # what needs a GPU, or its interpreter, has tests of its own
V_RESETS = [0.0, None, -0.5, 0.25]
SETTINGS = [dict(v_reset=r, decay_input=d) for r, d in itertools.product(V_RESETS, (True, False))]

every_backend = pytest.mark.parametrize("backend", ["reference", *FAST])
fast_backends = pytest.mark.parametrize("backend", FAST)
settings = pytest.mark.parametrize("settings", SETTINGS, ids=str)


def gradients(x, tau, seed=1, **settings):
    """Spikes, and the gradients of x and of a learned tau under random weights on the spikes."""
    x = x.detach().requires_grad_()
    learned = [tau.detach().requires_grad_()] if isinstance(tau, torch.Tensor) else []
    spikes = lif(x, *(learned or [tau]), **settings)
    weights = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed)).bfloat16().to(x.dtype)
    return spikes.detach(), torch.autograd.grad((spikes * weights).sum(), [x, *learned])


@every_backend
@pytest.mark.parametrize(
    ("x", "settings", "spikes"),
    [
        ([1.5, 1.5, 1.9, 3.0], {}, [0, 1, 0, 1]),  # h = 0.75 1.125 0.95 1.975
        ([1.5, 1.5, 1.9, 3.0], {"v_reset": None}, [0, 1, 1, 1]),  # h = 0.75 1.125 1.0125 1.50625
        ([0.75, 0.5, 0.625, 0.9], {"decay_input": False}, [0, 0, 1, 0]),  # h = 0.75 0.875 1.0625 0.9
        ([0.0, 0.5, 1.25, 0.9], {"v_reset": 0.5}, [0, 0, 1, 0]),  # h = 0.5 0.75 1.25 0.95: from the reset, to it
        ([1.0, 1.0, 1.0, 4.0], {"tau": 4.0}, [0, 0, 0, 1]),  # h = 0.25 0.4375 0.578 1.434
        ([2.0, -9.0, 2.0, 11.0], {}, [1, 0, 0, 1]),  # h = 1 (equality) -4.5 -1.25 4.875
        ([0.5, 0.25, 0.25, 0.9], {"tau": math.inf, "decay_input": False}, [0, 0, 1, 0]),  # an IF: h = 0.5 0.75 1 0.9
        ([0.5, 0.7, 0.25, 0.55], {"tau": math.inf, "decay_input": False, "v_reset": None}, [0, 1, 0, 1]),
        ([0.9, 0.7, 0.5, 0.2], {"tau": 1.0, "v_threshold": 0.5}, [1, 1, 1, 0]),  # forgets at once
    ],
)
def test_worked_examples(backend, x, settings, spikes):
    assert lif(torch.tensor(x), **settings, backend=backend).tolist() == spikes


@every_backend
@pytest.mark.parametrize("grad_mode", [True, False])
def test_gradient_of_two_steps_by_hand(backend, grad_mode):
    x = torch.tensor([0.5, 0.8], dtype=torch.float64, requires_grad=True)
    with torch.set_grad_enabled(grad_mode):
        spikes = lif(x, 2.0, backend=backend)
    assert spikes.requires_grad is grad_mode
    if grad_mode:
        spikes.sum().backward()
        slope = Sigmoid()(torch.tensor([0.25 - 1, 0.525 - 1], dtype=torch.float64))  # no spike: h = 0.25, 0.525
        assert torch.allclose(x.grad, torch.stack([slope[0] / 2 + slope[1] / 4, slope[1] / 2]), rtol=1e-14, atol=0)


@fast_backends
@settings
@pytest.mark.parametrize(("tau", "steps"), [(2.0, 11), (4.0, 5)])
@pytest.mark.parametrize("learned", [False, True])
def test_spikes_equal_on_dyadic_inputs(dyadic, backend, settings, tau, steps, learned):
    x = dyadic(steps, 4, 257)
    fires = lif(x, tau, backend="reference", **settings)
    tau = torch.tensor(tau, requires_grad=True) if learned else tau
    assert torch.equal(lif(x, tau, backend=backend, **settings), fires)
    assert 0.01 < fires.mean() < 0.99


@fast_backends
@settings
@pytest.mark.parametrize("detach_reset", [True, False])
@pytest.mark.parametrize("surrogate", [Sigmoid(), ATan(), Triangle(2.0)])
@pytest.mark.parametrize(
    "tau", [2.5, torch.tensor(2.5), torch.tensor([[1.5], [2.0], [4.0]])], ids=["fixed", "one", "3"]
)
def test_gradients_equal_the_references(backend, settings, detach_reset, surrogate, tau):
    x = 2 * torch.randn(6, 2, 3, 5, dtype=torch.float64)
    tau = tau.double() if isinstance(tau, torch.Tensor) else tau
    settings = dict(settings, detach_reset=detach_reset, surrogate=surrogate)
    spikes, ours = gradients(x, tau, backend=backend, **settings)
    expected_spikes, expected = gradients(x, tau, backend="reference", **settings)
    assert torch.equal(spikes, expected_spikes)
    assert 0 < spikes.mean() < 1
    for gradient, wanted in zip(ours, expected, strict=True):
        assert gradient.shape == wanted.shape
        assert torch.allclose(gradient, wanted, rtol=1e-10, atol=1e-12)


@fast_backends
@pytest.mark.parametrize(
    "make",
    {
        "one element": lambda x: x[:1, :1, 0, 0],
        "257": lambda x: x[:, 0, 0],
        "one step": lambda x: x[:1],
        "time only": lambda x: x[:, 0, 0, 0],
        "empty batch": lambda x: x[:, :0],
        "channels last": lambda x: x.transpose(1, 3),
        "strided": lambda x: x[:, :, :, ::3],
        "time last": lambda x: x.transpose(0, 3)[:7],
        "expanded": lambda x: x[:1].expand(5, -1, -1, -1),
    }.items(),
    ids=lambda item: item[0],
)
def test_shapes_that_hurt(dyadic, backend, make):
    x = make[1](dyadic(5, 2, 3, 257).double())
    spikes, ours = gradients(x, torch.tensor(2.0).double(), backend=backend)
    expected_spikes, expected = gradients(x, torch.tensor(2.0).double(), backend="reference")
    assert spikes.shape == x.shape
    assert torch.equal(spikes, expected_spikes)
    assert all(torch.allclose(a, b, rtol=1e-10, atol=1e-12) for a, b in zip(ours, expected, strict=True))


@every_backend
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("tau", [2.0, torch.tensor(2.0)], ids=["fixed", "learned"])
def test_half_precision_inputs_have_an_fp32_membrane(backend, dtype, tau):
    x = (3 * torch.randn(16, 4, 257)).to(dtype)
    spikes, ours = gradients(x, tau, backend=backend)
    expected_spikes, expected = gradients(x.float(), tau, backend=backend)
    assert spikes.dtype == ours[0].dtype == dtype
    assert torch.equal(spikes.float(), expected_spikes)
    for gradient, wanted in zip(ours, expected, strict=True):
        rounded = torch.finfo(dtype).eps * 2
        assert torch.allclose(gradient.float(), wanted, rtol=rounded, atol=rounded * wanted.abs().max().item())


@every_backend
def test_what_backward_keeps(backend):
    x = torch.randn(8, 64, requires_grad=True)
    tau = torch.tensor(2.0, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.nbytes) or t, lambda t: t):
        lif(x, tau, backend=backend)
    inputs_only = sum(kept) <= x.nbytes + tau.nbytes
    assert inputs_only is (backend != "reference")


@fast_backends
@pytest.mark.parametrize("learning", [True, False])
def test_spikes_and_gradients_keep_the_memory_format(backend, learning):
    x = torch.randn(3, 2, 4, 5, 8).movedim(-1, 2).requires_grad_(learning)  # channels last
    spikes = lif(x, backend=backend)
    assert spikes.stride() == x.stride() != spikes.contiguous().stride()
    if learning:
        assert torch.autograd.grad(spikes.sum(), x)[0].stride() == x.stride()


def test_a_gradient_that_only_tau_wants():
    tau = torch.tensor(2.0, requires_grad=True)
    lif(torch.ones(3), tau).sum().backward()
    assert tau.grad.abs() > 0


def test_errors():
    with pytest.raises(ValueError, match=r"no backend 'fast': choose auto, reference, recompute, native, triton"):
        lif(torch.ones(2), backend="fast")
    with pytest.raises(ValueError, match="scalar: the first axis of its input is time"):
        lif(torch.tensor(1.0))


# ---- the compiled kernels, which take fp32 and bf16: against the reference in fp64

needs_kernels = pytest.mark.skipif(kernels() is None, reason="no compiler, or they are switched off")
dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
CLOSE = {torch.float32: 1e-4, torch.bfloat16: 2**-8}  # relative: a gradient of bf16 is rounded once


def natively(x, tau, **settings):
    """Spikes and gradients by the kernels, and the reference's in fp64."""
    assert native.cannot_take(x, tau, settings.get("surrogate", Sigmoid())) is None
    ours = gradients(x, tau, backend="native", **settings)
    tau = tau.double() if isinstance(tau, torch.Tensor) else tau
    return ours, gradients(x.double(), tau, backend="reference", **settings)


@needs_kernels
@dtypes
@settings
@pytest.mark.parametrize("detach_reset", [True, False])
@pytest.mark.parametrize("surrogate", [Sigmoid(), ATan(), Triangle(2.0)])
@pytest.mark.parametrize("tau", [2.0, 2.5, torch.tensor(2.5)], ids=["2", "2.5", "learned"])
def test_kernels_equal_the_reference(settings, detach_reset, surrogate, tau, dtype):
    x = (2 * torch.randn(6, 3, 67)).to(dtype)
    (spikes, ours), (expected_spikes, expected) = natively(
        x, tau, detach_reset=detach_reset, surrogate=surrogate, **settings
    )
    assert spikes.dtype == dtype and torch.equal(spikes, expected_spikes.to(dtype)) and 0 < spikes.mean() < 1
    for gradient, wanted in zip(ours, expected, strict=True):
        assert torch.allclose(gradient.double(), wanted, rtol=CLOSE[dtype], atol=1e-5)


@needs_kernels
@settings
def test_kernels_spikes_equal_on_dyadic_inputs(dyadic, settings):
    for tau in (2.0, 4.0):
        x = dyadic(5, 4, 257)
        assert torch.equal(lif(x, tau, backend="native", **settings), lif(x, tau, backend="reference", **settings))


@needs_kernels
@dtypes
@pytest.mark.parametrize(
    "make",
    {
        "one element": lambda x: x[:1, :1, 0, 0, 0],
        "one step": lambda x: x[:1],
        "time only": lambda x: x[:, 0, 0, 0, 0],
        "empty batch": lambda x: x[:, :0],
        "channels last": lambda x: x.movedim(2, -1).contiguous().movedim(-1, 2),
        "strided": lambda x: x[..., ::3],
        "time after": lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
        "expanded": lambda x: x[:1].expand(5, -1, -1, -1, -1),
        "many": lambda x: x.repeat(1, 9, 1, 1, 1),
    }.items(),
    ids=lambda item: item[0],
)
def test_kernels_take_any_layout(dyadic, make, dtype):
    x = make[1](dyadic(5, 2, 3, 7, 97)).to(dtype)
    (spikes, ours), (expected_spikes, expected) = natively(x, torch.tensor(2.0))
    assert spikes.shape == x.shape and torch.equal(spikes, expected_spikes.to(dtype))
    for gradient, wanted in zip(ours, expected, strict=True):
        assert torch.allclose(gradient.double(), wanted, rtol=CLOSE[dtype], atol=1e-4)


@needs_kernels
@dtypes
@pytest.mark.parametrize("channels_last", [False, True])
def test_kernels_make_a_norm_in_front_again(channels_last, dtype):
    x = torch.randn(4, 3, 5, 6, 7).to(dtype)
    x = x.movedim(2, -1).contiguous().movedim(-1, 2) if channels_last else x
    norm = torch.nn.BatchNorm2d(5)
    torch.nn.init.uniform_(norm.weight, 1, 2)
    results = []
    for backend in ("native", "reference"):
        norm.zero_grad()
        y = batch_norm(norm, x.requires_grad_())
        assert noted(y, Recipe) is not None
        spikes = lif(y, backend=backend)
        spikes.square().sum().backward()
        results.append((spikes.detach(), x.grad.clone(), norm.weight.grad.clone()))
        x.grad = None
    for ours, expected in zip(*results, strict=True):
        assert torch.allclose(ours, expected, rtol=CLOSE[dtype], atol=10 * CLOSE[dtype])


@needs_kernels
def test_kernels_sum_in_one_order_for_any_number_of_threads():
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            draw = torch.Generator().manual_seed(0)
            spikes, grads = gradients(
                torch.randn(4, 70_001, generator=draw), torch.tensor(2.0), backend="native", detach_reset=False
            )
            results.append((spikes, *grads))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for other in results[1:] for a, b in zip(results[0], other, strict=True))


@needs_kernels
def test_auto_takes_the_kernels_where_they_can_be_had():
    x = torch.randn(4, 2, 8)
    assert _choose(x, 2.0, Sigmoid()) == "native"
    assert _choose(x.double(), 2.0, Sigmoid()) == _choose(x, 2.0, lambda u: u) == "recompute"
    with pytest.raises(
        ValueError, match=r"cannot run in Native: it takes fp32 and bf16, and the input is torch\.float64"
    ):
        lif(x.double(), backend="native")
    with pytest.raises(ValueError, match="tau is not one number on the CPU"):
        lif(x, torch.ones(8), backend="native")


def test_the_default_device_is_not_where_kernels_write():
    x = torch.randn(2, 3, 4, device="cpu", requires_grad=True)
    with torch.device("meta"):
        y = lif(x)
        (grad,) = torch.autograd.grad(y, x, y.detach())
    assert y.device.type == grad.device.type == "cpu"
    assert torch.equal(y, lif(x, backend="reference"))


def test_a_model_all_in_bfloat16_keeps_its_gradients():
    torch.manual_seed(0)
    x = torch.randn(6, 3, 8, 8).to(memory_format=torch.channels_last).unflatten(0, (2, 3)).bfloat16()
    conv, grads = ConvNorm(3, 40, 3).bfloat16(), []
    for backend in ("auto", "reference"):
        conv.zero_grad()
        current = conv(x)
        spikes = lif(current, backend=backend)
        (grad,) = torch.autograd.grad(spikes, current, torch.ones_like(spikes))
        grads.append(grad.float())
    assert ((grads[0] - grads[1]).abs() > 0.05).float().mean() < 0.01
