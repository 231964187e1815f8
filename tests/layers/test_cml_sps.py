"""The stem that pools before the neuron, against its formula and against the stem that pools after."""

import pytest
import torch
from torch.nn.functional import max_pool2d

from spikeformers.layers.stem import CMLSPS, SPS
from spikeformers.neurons import LIF


def pool(x):
    return torch.stack([max_pool2d(step, 3, 2, padding=1) for step in x])


@pytest.fixture
def x():
    return torch.randn(3, 2, 3, 8, 4, dtype=torch.float64)


def test_pools_the_current(x, lively):
    stem = lively(CMLSPS(3, 8, LIF, (2, 1)).double(), x)
    first, last = (stage.proj for stage in stem.stages)
    y = LIF()(last(LIF()(pool(first(x)))))
    assert (first.conv.out_channels, last.conv.out_channels) == (4, 8)
    assert torch.equal(stem(x), y)
    assert 0.05 < y.mean() < 0.95


def test_differs_from_sps_by_what_neurons_remember(x, lively):
    """At the first step the largest current fires where any fires; later, neurons that fired alone are reset apart."""
    cml, sps = CMLSPS(3, 8, LIF, (2, 1)).double(), SPS(3, 8, LIF, (2, 1)).double()
    sps.load_state_dict(lively(cml, x).state_dict())
    ours, theirs = cml(x), sps.eval()(x)
    assert torch.equal(ours[0], theirs[0])
    assert not torch.equal(ours[1:], theirs[1:])


def test_a_window_sends_its_gradient_to_the_largest_current():
    stem = CMLSPS(1, 1, LIF, (2,)).double()
    stem.stages[0].proj = torch.nn.Identity()
    current = torch.tensor([[3.0, 5.0], [4.0, 2.0]], dtype=torch.float64).view(1, 1, 1, 2, 2).requires_grad_()
    stem(current).backward()
    assert current.grad.nonzero().tolist() == [[0, 0, 0, 0, 1]]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CMLSPS(3, 100, LIF), "dim 100 is not a multiple of 8"),
        (lambda: CMLSPS(3, 8, LIF, (2, 3)), "stride 3"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()
