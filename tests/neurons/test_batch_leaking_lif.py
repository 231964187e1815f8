"""The slip does what it says. That it is the released one, tests/checkpoints/test_released.py shows."""

import torch

from spikeformers import neurons
from spikeformers.neurons import LIF
from spikeformers.neurons.batch_leaking_lif import BatchLeakingLIF


def test_state_runs_from_one_sample_into_the_next():
    x = torch.zeros(2, 3, 1)
    x[0, 0] = 1.5  # charges the first sample to 0.75
    x[0, 1] = 1.3  # 0.65 from rest, 1.025 from what the first left
    assert LIF()(x).sum() == 0
    assert BatchLeakingLIF()(x).flatten().tolist() == [0, 1, 0, 0, 0, 0]


def test_alone_it_is_lif():
    x = 2 * torch.randn(6, 1, 4, 5)
    assert torch.equal(BatchLeakingLIF()(x), LIF()(x))
    assert BatchLeakingLIF()(x.expand(6, 2, 4, 5).transpose(-1, -2)).shape == (6, 2, 5, 4)


def test_is_not_among_the_neurons_that_keep_the_contract():
    assert not hasattr(neurons, "BatchLeakingLIF")
