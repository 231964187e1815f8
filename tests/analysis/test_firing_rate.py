"""Firing rates of neurons whose output is known."""

import pytest
import torch
from torch import nn

import spikeformers as sf
from spikeformers.analysis import FiringRates


class Says(nn.Module):
    """A neuron that puts out what it is told to."""

    levels = (0, 1)

    def __init__(self, spikes):
        super().__init__()
        self.spikes = torch.tensor(spikes, dtype=torch.float)

    def forward(self, x):
        return self.spikes


class Blocks(nn.Module):
    """Two neurons in the first block, one in the second, one in the stem, and one that is never called."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Identity(), Says([1, 0, 0, 0]))
        self.blocks = nn.Sequential(nn.Sequential(Says([1, 1]), Says([0] * 6)), nn.Sequential(Says([0, 3, -1, 0])))
        self.head = nn.Linear(4, 4)
        self.unused = Says([1])

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)))


def test_a_rate_is_the_share_of_outputs_that_are_not_zero():
    model = Blocks()
    with FiringRates(model) as rates:
        model(torch.zeros(4))
    assert rates.by_neuron() == {"stem.1": 0.25, "blocks.0.0": 1.0, "blocks.0.1": 0.0, "blocks.1.0": 0.5}
    assert rates.by_block() == {"stem": 0.25, "blocks.0": 0.25, "blocks.1": 0.5}
    assert rates.overall() == pytest.approx(5 / 16)


def test_counts_go_on_until_they_are_cleared():
    model = Blocks()
    rates = FiringRates(model)
    with rates:
        model(torch.zeros(4))
    model.stem[1].spikes = torch.ones(4)
    model(torch.zeros(4))  # outside: not counted
    with rates:
        model(torch.zeros(4))
        model(torch.zeros(4))
    assert rates.by_neuron()["stem.1"] == pytest.approx(9 / 12)
    rates.clear()
    assert (rates.by_neuron(), rates.by_block(), rates.overall()) == ({}, {}, 0)


def test_hooks_are_gone_afterwards_even_after_an_error():
    model = Blocks()
    with FiringRates(model) as rates:
        assert rates.running
    with pytest.raises(RuntimeError), FiringRates(model) as rates:
        raise RuntimeError
    assert not rates.running
    assert not any(module._forward_hooks for module in model.modules())


def test_counting_changes_neither_output_nor_gradient():
    model = sf.create_model("spikformer_4_256_cifar10", dim=32, depth=1, num_heads=2, time_steps=2).eval()
    x = torch.rand(2, 3, 32, 32, requires_grad=True)
    outputs = []
    for counted in (False, True):
        rates = FiringRates(model)
        if counted:
            rates.__enter__()
        logits = model(x)
        outputs.append((logits.detach(), *torch.autograd.grad(logits.sum(), x)))
        rates.__exit__()
    assert all(torch.equal(a, b) for a, b in zip(*outputs, strict=True))


def test_the_blocks_of_a_model():
    model = sf.create_model("spikformer_4_256_cifar10", dim=32, depth=2, num_heads=2, time_steps=2)
    with FiringRates(model) as rates:
        model(torch.rand(2, 3, 32, 32))
    assert list(rates.by_block()) == ["stem", "position", "blocks.0", "blocks.1"]
    assert "blocks.1.attn.core.q_neuron" in rates.by_neuron()
    assert all(0 <= rate <= 1 for rate in rates.by_neuron().values())
