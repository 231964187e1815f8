import dataclasses
import inspect

import pytest
import torch

from spikeformers.ops import surrogate
from spikeformers.ops.surrogate import ATan, Sigmoid, Triangle, spike

PRIMITIVES = [
    (Sigmoid(), lambda u: torch.sigmoid(4 * u), 1.0),
    (Sigmoid(alpha=2.5), lambda u: torch.sigmoid(2.5 * u), 0.625),
    (ATan(), lambda u: torch.arctan(torch.pi * u) / torch.pi, 1.0),
    (ATan(alpha=3.0), lambda u: torch.arctan(torch.pi / 2 * 3 * u) / torch.pi, 1.5),
    (Triangle(), lambda u: u.clamp(-1, 1) - u.clamp(-1, 1) * u.clamp(-1, 1).abs() / 2, 1.0),
    (Triangle(width=0.5), lambda u: 2 * u.clamp(-0.5, 0.5) - 2 * u.clamp(-0.5, 0.5) * u.clamp(-0.5, 0.5).abs(), 2.0),
]
EVERY = [c for _, c in inspect.getmembers(surrogate, inspect.isclass) if dataclasses.is_dataclass(c)]


@pytest.mark.parametrize(("derivative", "primitive", "peak"), PRIMITIVES, ids=[str(row[0]) for row in PRIMITIVES])
def test_is_the_derivative_of_its_primitive(derivative, primitive, peak):
    u = torch.linspace(-3, 3, 1000, dtype=torch.float64, requires_grad=True)  # 0 and the kinks are not among them
    (expected,) = torch.autograd.grad(primitive(u).sum(), u)
    assert torch.allclose(derivative(u.detach()), expected, rtol=1e-12, atol=1e-14)
    assert derivative(torch.zeros(())).item() == pytest.approx(peak)


@pytest.mark.parametrize("make", EVERY)
def test_every_surrogate_is_even_with_area_one(make):
    u = torch.linspace(-500, 500, 200_001, dtype=torch.float64)
    assert torch.trapezoid(make()(u), u).item() == pytest.approx(1, abs=2e-3)
    assert torch.allclose(make()(u), make()(-u))
    assert make() == make()
    assert hash(make()) == hash(make())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_spike_fires_at_equality(dtype):
    u = torch.tensor([-1.0, -1e-30, -0.0, 0.0, 1e-30, 1.0], dtype=dtype)
    assert torch.equal(spike(u, Sigmoid()), torch.tensor([0, 0, 1, 1, 1, 1], dtype=dtype))


def test_spike_backward_is_the_surrogate_even_a_users_own():
    u = torch.randn(5, requires_grad=True)
    weight = torch.randn(5)
    (weight * spike(u, lambda u: 3 * u + 1)).sum().backward()
    assert torch.equal(u.grad, weight * (3 * u.detach() + 1))
