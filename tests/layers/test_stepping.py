"""Parts one step at a time: what they remember, who is refused, and what the contract check finds."""

import pytest
import torch
from torch import nn

from spikeformers.layers.attention import SSA, TIM, CausalSSA, TimeMixSSA
from spikeformers.layers.check import check_part
from spikeformers.layers.stepping import Stepping
from spikeformers.neurons import IF, LIF, PSN, IntegerHalfEven, SlidingPSN
from spikeformers.neurons.batch_leaking_lif import BatchLeakingLIF


class Forgetful(LIF):
    """A sequence of its own, with the step of another class."""

    def forward(self, x):
        return super().forward(2 * x)


class Wrong(LIF):
    def step(self, x, v):
        return super().step(x, 0.5 * v)


class Loop(nn.Module):
    """As a first neuron is written: forward only."""

    levels = (0.0, 1.0)

    def forward(self, x):
        v, spikes = torch.zeros_like(x[0]), []
        for now in x:
            v = v + now
            spikes.append((v >= 1).to(x.dtype))
            v = v * (1 - spikes[-1])
        return torch.stack(spikes)


def test_state_is_named_by_the_parts_that_keep_it():
    part = nn.Sequential(SSA(8, 2, IntegerHalfEven), CausalSSA(8, 2, LIF)).eval()
    kept = Stepping(part).initial(torch.rand(2, 8, 4, 4))
    assert {name: tuple(x.shape) for name, x in kept.items()} == {
        "1.q_neuron.v": (2, 8, 4, 4),
        "1.k_neuron.v": (2, 8, 4, 4),
        "1.v_neuron.v": (2, 8, 4, 4),
        "1.past": (2, 2, 4, 4),
        "1.steps": (2, 1, 1, 1),
        "1.attn_neuron.v": (2, 8, 4, 4),
    }
    kept = list(Stepping(TIM(8, 2, LIF)).initial(torch.rand(1, 8, 4, 4)))
    assert kept[3:] == ["last", "begun", "past_neuron.v", "mix_neuron.v", "attn_neuron.v"]


def test_a_part_that_is_called_twice_remembers_twice():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.neuron = IF()

        def forward(self, x):
            return self.neuron(x) - self.neuron(0.5 * x)

    part, x = Twice(), torch.rand(5, 2, 30)
    stepping = Stepping(part)
    state = stepping.initial(x[0])
    assert list(state) == ["neuron.v", "neuron.2.v"]
    state = state.values()
    for t, now in enumerate(x):
        y, *state = stepping(now, *state)
        assert torch.equal(y, part(x)[t])


def test_weights_are_shared_and_the_part_is_unchanged():
    part = nn.Sequential(nn.Linear(3, 3), LIF()).train()
    stepping = Stepping(part)
    assert part.training and not stepping.part.training
    assert stepping.part[0].weight is part[0].weight and "forward" not in vars(part[1])


@pytest.mark.parametrize(
    ("part", "says"),
    [
        (nn.Sequential(PSN(time_steps=2)), r"PSN \(0\) looks ahead in time, .* such as neuron=SlidingPSN"),
        (
            BatchLeakingLIF(),
            "BatchLeakingLIF computes sequences in its own forward and has no step of its own",
        ),
        (Forgetful(), "Forgetful computes sequences in its own forward and has no step"),
    ],
)
def test_refused_by_name(part, says):
    with pytest.raises(ValueError, match=says):
        Stepping(part)


@pytest.mark.parametrize("neuron", [PSN, Loop, Forgetful])
def test_tim_needs_neurons_with_a_step(neuron):
    def make(**given):
        return neuron(time_steps=4, **given) if neuron is PSN else neuron()

    with pytest.raises(ValueError, match=f"{neuron.__name__} has no step: use another, such as LIF"):
        TIM(8, 2, make)


def test_the_check_compares_declared_steps_with_the_sequence():
    x = 2 * torch.randn(5, 2, 40)
    for part in (LIF(), SlidingPSN(), Loop(), Forgetful(), nn.Sequential(Loop())):
        check_part("neuron", part, x)  # those without a step of their own train all the same
    with pytest.raises(ValueError, match=r"Wrong \(neuron\) breaks the contract that a part gives at each step what"):
        check_part("neuron", Wrong(), x)


def test_time_mix_ends_after_its_steps():
    stepping = Stepping(TimeMixSSA(4, 1, LIF, time_steps=2))
    state = stepping.initial(x := torch.rand(1, 4, 2, 2)).values()
    for _ in range(2):
        _, *state = stepping(x, *state)
    with pytest.raises(ValueError, match="weights for 2 steps and got 3: build it with time_steps=3"):
        stepping(x, *state)
