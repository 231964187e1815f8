"""Energy with memory and the dense twin, by hand."""

import json
from dataclasses import replace

import pytest
import torch
from tiny_models import build
from torch import nn

from spikeformers.analysis import CONVENTIONS, Memory, profile
from spikeformers.analysis.memory_energy import dense_twin, parse_memory, spiking_bill
from spikeformers.neurons import IELIF, ILIF, LIF, NILIF, PSN, IntegerHalfEven, IntegerHalfUp, SlidingPSN

SMALL = Memory(buffers=((100, 1.0),), dram=10, weight_bits=8, membrane_bits=16)


class Own(nn.Module):
    """Ten neurons, whose spikes are given, a layer of 50 weights, and one that reads real numbers: `[T, B, 10]`."""

    def __init__(self, levels=(0, 1)):
        super().__init__()
        self.neuron, self.layer, self.last = nn.Identity(), nn.Linear(10, 5, bias=False), nn.Linear(5, 1, bias=False)
        self.neuron.levels = levels
        for weights in self.parameters():
            nn.init.constant_(weights, 0.37)

    def forward(self, x):
        return self.last(self.layer(self.neuron(x)))


@pytest.fixture
def counted():
    x = torch.zeros(2, 1, 10)
    x[0, 0, :3] = x[1, 0, 5] = 1  # 4 spikes in 2 steps
    return profile(Own(), [x], samples=1, memory=SMALL)


def test_a_spiking_network_by_hand(counted):
    bill = spiking_bill(counted.layers, 1, 2, SMALL)
    neuron = 0.1 * (4 + 20) + 2 * 10 * 2  # resets and updates; ten membranes of two bytes, read and written once
    layer = 50 * 10  # bytes of weights from outside
    last = 10 * (0.2 + 0.1) + 10 + 5 * 10 + 10  # products, their weights, all weights, ten numbers of a byte
    assert bill.fixed == pytest.approx(neuron + layer + last)
    addresses = 4 * 4 / 8  # bytes of four spikes: ten places take four bits, and all places of two steps 20
    assert bill.spiking == pytest.approx(addresses + 20 * 0.1 + 20 + addresses)
    total = counted.total("memory")
    assert total.millijoules == pytest.approx((bill.fixed + bill.spiking) * 1e-9)
    assert (total.ac, total.mac) == (counted.total("strict").ac, counted.total("strict").mac)


def test_its_dense_twin_by_hand(counted):
    twin = counted.twin
    assert twin.bits == 2 and twin.macs == 50 + 5  # counts 0 to 2
    product = 0.2 * 2 * 8 / 64 + 0.1
    neuron, maps = 10 * product, 10 * 2 / 8
    layer, last = 50 * product + 50 + 500 + maps, 5 * 0.3 + 5 + 50 + 5
    assert twin.millijoules == pytest.approx((neuron + maps + layer + last) * 1e-9)
    assert twin.moved == pytest.approx((maps + 50 + 500 + maps + 5 + 50 + 5) * 1e-9)


@pytest.mark.parametrize("keepdim", [False, True])
def test_what_follows_the_mean_over_time_runs_once_in_both(keepdim):
    """Ten neurons, and of their mean an `exp` and a sum; the twin saves the steps before the mean alone."""

    class Averaged(nn.Module):
        time_steps = 4

        def __init__(self, early):
            super().__init__()
            self.neuron, self.early = nn.Identity(), early
            self.neuron.levels = (0, 1)

        def forward(self, x):
            x = self.neuron(x)
            x = x.exp() if self.early else x
            x = x.mean(0, keepdim=keepdim)
            return x if self.early else x.exp()

    x = torch.zeros(4, 1, 10, 1, 1)
    early, late = (profile(Averaged(early), [x], memory=SMALL) for early in (True, False))
    functions = [next(layer for layer in found.layers if layer.op == "function") for found in (early, late)]
    assert [(layer.dense, layer.passes) for layer in functions] == [(40, 4), (10, 1)]
    assert early.twin.millijoules == pytest.approx(late.twin.millijoules)  # ten of each, once


def test_without_neurons_the_twin_has_the_bits_of_real_numbers():
    relu = nn.Sequential(nn.Linear(10, 5, bias=False), nn.ReLU(), nn.Linear(5, 1, bias=False))
    for memory in (SMALL, Memory(real_bits=6)):
        assert profile(relu, [torch.randn(1, 2, 10)], samples=2, memory=memory).twin.bits == memory.real_bits


def test_both_cost_the_same_at_the_rate_of_break_even(counted):
    """Which is a rate at which the spiking network's bill, in proportion, is the twin's."""
    twin, bill = counted.twin, spiking_bill(counted.layers, 1, 2, SMALL)
    assert twin.rate == 20 / 100
    at_that_rate = bill.fixed + bill.spiking * twin.break_even / twin.rate
    assert at_that_rate * 1e-9 == pytest.approx(twin.millijoules)
    shared = profile(Own(), [torch.zeros(2, 1, 10)], samples=1, memory=parse_memory("reuse=50")).twin
    assert shared.break_even is None


def test_spikes_move_as_bits_or_as_addresses_whichever_is_less():
    silent, busy = torch.zeros(2, 1, 10), torch.ones(2, 1, 10)
    by_address, by_bit = (spiking_bill(profile(Own(), [x], samples=1).layers, 1, 2, SMALL) for x in (silent, busy))
    assert by_address.spiking == 0
    assert by_bit.spiking == pytest.approx(100 * 0.1 + 100)  # the bits move whatever fires


def test_counts_take_bits_and_one_step_moves_no_membrane():
    x = torch.zeros(1, 1, 10)
    x[..., :8] = 3.0
    counted = profile(Own((0, 1, 2, 3, 4)), [x], samples=1, memory=SMALL)
    neuron = next(layer for layer in counted.layers if layer.op == "neuron")
    assert (neuron.levels, neuron.passes) == (5, 1) and counted.twin.bits == 3
    written = 10 * 3 / 8
    assert spiking_bill([neuron], 1, 1, SMALL).fixed == pytest.approx(0.1 * (8 + 10) + written)


@pytest.mark.parametrize(
    ("neuron", "membranes"),
    [
        (LIF(), 1),
        (ILIF(), 1),
        (PSN(time_steps=4), 1),
        (SlidingPSN(order=2), 1),
        (SlidingPSN(order=1), 0),
        *((integer(), 0) for integer in (IntegerHalfEven, IntegerHalfUp, IELIF, NILIF)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
def test_only_neurons_that_remember_move_membranes(neuron, membranes):
    found = profile(nn.Sequential(neuron), [3 * torch.rand(4, 1, 2, 8, 8)])
    alone = Memory(buffers=((1e9, 1.0),), add=0, multiply=0)
    with_none = spiking_bill(found.layers, 1, 4, replace(alone, membrane_bits=0))
    moved = spiking_bill(found.layers, 1, 4, alone).moved - with_none.moved
    assert moved == membranes * 2 * 3 * 128 * 2  # read and written, between steps, neurons, bytes


@pytest.mark.parametrize(
    ("levels", "steps", "bits"),
    [((0, 1, 2, 3, 4), 3, 4), ((0, 1, 2, 3, 4), 4, 5), ((0, 1), 3, 2), ((-1, 0, 1), 3, 3), ((-1, 0, 1), 4, 4)],
)
def test_the_twin_has_bits_for_every_sum_over_steps(levels, steps, bits):
    x = torch.tensor(levels, dtype=torch.float32)[torch.arange(10 * steps) % len(levels)].view(steps, 1, 10)
    counted = profile(Own(levels), [x], samples=1, memory=SMALL)
    assert counted.twin.bits == bits
    [layer] = [layer for layer in counted.layers if layer.name == "layer"]
    alone = dense_twin([layer], 1, steps, replace(SMALL, buffers=((1000, 0.0),), dram=0, add=0, multiply=64))
    assert alone.millijoules == pytest.approx(50 * bits * 8 * 1e-9)  # its operands have as many


def test_the_smallest_memory_that_holds_it_is_paid_for():
    memory = Memory(buffers=((10, 1.0), (100, 2.0)), dram=50)
    assert [memory.at(size) for size in (10, 11, 100, 101)] == [1, 2, 2, 50]
    assert memory.moving(8 * 40) == 40 * 2 and memory.moving(8 * 400) == 400 * 50 and memory.local == 1


def test_of_a_whole_model_layers_add_up_and_nothing_depends_on_the_batch():
    torch.manual_seed(0)
    model, x = build("spikingformer").eval(), torch.randn(4, 3, 16, 16)
    together = profile(model, [x])
    apart = profile(model, [x[:1], x[1:]])
    for found in (together, apart):
        by_layer = sum(energy.millijoules for _, energy in found.by_layer("memory"))
        assert by_layer == pytest.approx(found.total("memory").millijoules)
    assert apart.total("memory").millijoules == pytest.approx(together.total("memory").millijoules)
    assert apart.twin.millijoules == pytest.approx(together.twin.millijoules)
    says = json.loads(together.to_json())
    assert says["twin"] == json.loads(json.dumps(together.twin.describe())) and says["memory"]["dram"] == 162.5
    weights = sum(layer.weights for layer in together.layers)
    assert weights == sum(p.numel() for p in model.parameters() if p.ndim > 1)
    dear = profile(model, [x], memory=Memory(dram=2 * 162.5)).total("memory").millijoules
    assert dear - together.total("memory").millijoules == pytest.approx(weights * 162.5e-9)
    assert CONVENTIONS["memory"].paper == "ours, after arXiv:2409.08290"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dram", "--memory dram is not a setting: give numbers, such as dram=325"),
        ("dram=much", "--memory dram=much is not a setting"),
        ("sram=1", "for dram, weight_bits"),
        ("dram=-1", "memory dram -1.0 is below 0"),
        ("dram=inf", "memory dram inf is not a finite number: give 0 or more"),
        ("reuse=inf", "memory reuse inf is not a finite number: give 1 or more"),
        ("reuse=0.5", "memory reuse 0.5 is below 1: give 1 or more"),
    ],
)
def test_settings_that_are_none(text, said):
    with pytest.raises(ValueError, match=said):
        parse_memory(text)
    for buffers in ((), ((100, 2.0), (10, 1.0)), ((10, float("nan")),), ((10, -1.0),), ((float("inf"), 1.0),)):
        with pytest.raises(ValueError, match="smallest first"):
            Memory(buffers=buffers)
    with pytest.raises(ValueError, match="memory weight_bits nan is not a finite number"):
        Memory(weight_bits=float("nan"))
    assert parse_memory("dram=325, weight_bits=4") == Memory(dram=325, weight_bits=4) and parse_memory(None) == Memory()
