"""The Triton kernels against the reference: in Triton's interpreter on the CPU, compiled where there is a GPU."""

import itertools
import os
import subprocess
import sys

import pytest
import torch

from spikeformers.layers.norm import batch_norm
from spikeformers.ops.lif import _choose, lif
from spikeformers.ops.lif.triton import INTERPRETED
from spikeformers.ops.notes import Recipe, noted
from spikeformers.ops.surrogate import ATan, Sigmoid, Triangle

SETTINGS = [dict(v_reset=r, decay_input=d) for r, d in itertools.product([0.0, None, 0.25], (True, False))]
settings = pytest.mark.parametrize("settings", SETTINGS, ids=str)


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request):
    if request.param == "cpu" and not INTERPRETED:
        pytest.skip("there is a GPU: the same test runs on it")
    return request.param


def gradients(x, tau, backend, **settings):
    """Spikes, and the gradients of x and of a learned tau under fixed weights on the spikes."""
    x = x.detach().requires_grad_()
    learned = [tau.detach().requires_grad_()] if isinstance(tau, torch.Tensor) else []
    spikes = lif(x, *(learned or [tau]), backend=backend, **settings)
    weights = torch.randn(x.shape, generator=torch.Generator().manual_seed(1)).to(x)
    return spikes.detach(), torch.autograd.grad((spikes * weights).sum(), [x, *learned])


@settings
@pytest.mark.parametrize(("tau", "steps"), [(2.0, 11), (4.0, 5)])
@pytest.mark.parametrize("learned", [False, True])
def test_spikes_equal_on_dyadic_inputs(dyadic, device, settings, tau, steps, learned):
    x = dyadic(steps, 4, 257).to(device)
    fires = lif(x, tau, backend="reference", **settings)
    tau = torch.tensor(tau, device=device, requires_grad=True) if learned else tau
    assert torch.equal(lif(x, tau, backend="triton", **settings), fires)
    assert 0.01 < fires.mean() < 0.99


@settings
@pytest.mark.parametrize("detach_reset", [True, False])
@pytest.mark.parametrize("surrogate", [Sigmoid(), ATan(), Triangle(2.0)])
@pytest.mark.parametrize("learned", [False, True])
def test_gradients_equal_the_references_in_float64(dyadic, device, settings, detach_reset, surrogate, learned):
    x = dyadic(5, 3, 41).to(device)
    tau, wide = (torch.tensor(2.0).to(device), torch.tensor(2.0).double().to(device)) if learned else (2.0, 2.0)
    settings = dict(settings, detach_reset=detach_reset, surrogate=surrogate)
    spikes, ours = gradients(x, tau, "triton", **settings)
    expected_spikes, expected = gradients(x.double(), wide, "reference", **settings)
    assert torch.equal(spikes.double(), expected_spikes)
    for gradient, wanted in zip(ours, expected, strict=True):
        assert torch.allclose(gradient.double(), wanted, rtol=1e-4, atol=1e-5 * wanted.abs().max().item())


@pytest.mark.parametrize(
    "make",
    {
        "one element": lambda x: x[:1, :1, 0, 0],
        "257": lambda x: x[:, 0, 0],
        "one step": lambda x: x[:1],
        "time only": lambda x: x[:, 0, 0, 0],
        "empty batch": lambda x: x[:, :0],
        "channels last": lambda x: x[:, :, None].movedim(-1, 2),
        "strided": lambda x: x[:, :, :, ::3],
        "time last": lambda x: x.transpose(0, 3)[:7],
        "expanded": lambda x: x[:1].expand(5, -1, -1, -1),
        "bf16": lambda x: x.bfloat16(),
    }.items(),
    ids=lambda item: item[0],
)
def test_shapes_that_hurt(dyadic, device, make):
    x = make[1](dyadic(5, 2, 3, 257).to(device))
    tau = torch.tensor(2.0, device=device)
    spikes, ours = gradients(x, tau, "triton")
    expected_spikes, expected = gradients(x, tau, "recompute")
    assert (spikes.shape, spikes.dtype) == (x.shape, x.dtype)
    assert torch.equal(spikes, expected_spikes)
    rounded = max(1e-4, 2 * torch.finfo(x.dtype).eps)
    for gradient, wanted in zip(ours, expected, strict=True):
        most = wanted.abs().max().item() if wanted.numel() else 0.0
        assert torch.allclose(gradient.float(), wanted.float(), rtol=rounded, atol=rounded * most)


@pytest.mark.parametrize("channels_last", [False, True])
def test_a_norm_in_front_is_made_again(device, channels_last):
    x = torch.randn(4, 3, 5, 6, 7, device=device)
    if channels_last:
        x = x.movedim(2, -1).contiguous().movedim(-1, 2)
    norm = torch.nn.BatchNorm2d(5).to(device)
    torch.nn.init.uniform_(norm.weight, 1, 2)
    results = []
    for backend in ("triton", "reference"):
        norm.zero_grad()
        y = batch_norm(norm, x.requires_grad_())
        assert noted(y, Recipe) is not None
        spikes = lif(y, backend=backend)
        spikes.square().sum().backward()
        results.append((spikes.detach(), x.grad.clone(), norm.weight.grad.clone()))
        x.grad = None
    for ours, expected in zip(*results, strict=True):
        assert torch.allclose(ours, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.gpu
def test_auto_takes_the_kernels_on_a_gpu():
    x = torch.randn(4, 2, 8, device="cuda", requires_grad=True)
    assert _choose(x, 2.0, Sigmoid()) == "triton"
    assert _choose(x.double(), 2.0, Sigmoid()) == "recompute"


def test_what_the_kernels_cannot_take(device):
    x = torch.ones(2, 3, device=device)
    with pytest.raises(ValueError, match="cannot run in Triton: its membrane is fp32, and the input float64"):
        lif(x.double(), backend="triton")
    with pytest.raises(ValueError, match="takes one tau for all neurons, and got 3"):
        lif(x, torch.ones(3, device=device), backend="triton")
    with pytest.raises(ValueError, match="supports the surrogates Sigmoid, ATan, Triangle, not"):
        lif(x, surrogate=torch.ones_like, backend="triton")


def test_without_a_gpu_it_says_so(monkeypatch):
    monkeypatch.setattr("spikeformers.ops.lif.triton.INTERPRETED", False)
    with pytest.raises(ValueError, match="it needs a GPU, and the input is on cpu; use backend='auto'"):
        lif(torch.ones(2), backend="triton")


COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from spikeformers.ops.lif.triton import _backward, _forward

pointers = dict(x_ptr="*bf16", spikes_ptr="*bf16", scale_ptr="*fp32", shift_ptr="*fp32", grad_ptr="*bf16",
                grad_x_ptr="*bf16", grad_tau_ptr="*fp32", tau_arg="*fp32", neurons="i32", channels="i32", pixels="i32",
                v_threshold="fp32", v_reset="fp32", alpha="fp32")
choices = dict(T=4, LEARNED=True, MADE=True, DECAY=True, HARD=True, DETACH=False, KIND=0, BLOCK=1024)
for kernel in (_forward, _backward):
    constants = {name: choices[name] for name in kernel.arg_names if name in choices}
    signature = {name: "constexpr" if name in choices else pointers[name] for name in kernel.arg_names}
    made = triton.compile(ASTSource(kernel, signature, constants), target=GPUTarget("cuda", 90, 32))
    print(len(made.asm["cubin"]) > 1000, "local" in made.asm["ptx"])  # spilt registers live in local memory
"""


def test_the_kernels_compile_for_hopper_and_keep_their_registers(tmp_path):
    environment = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    run = subprocess.run([sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True)
    assert run.stdout.split() == ["True", "False", "True", "False"], run.stderr
