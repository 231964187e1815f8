"""The contract, over every neuron there is."""

import copy
import inspect
from functools import partial

import pytest
import torch

from spikeformers import neurons
from spikeformers.neurons import (
    CLIF,
    GLIF,
    IF,
    ILIF,
    KLIF,
    LIF,
    NILIF,
    PLIF,
    PSN,
    IntegerHalfEven,
    SlidingPSN,
    SpikingJellyNeuron,
    TernaryLIF,
)

NEURONS = {name: c for name, c in vars(neurons).items() if name in neurons.__all__ and inspect.isclass(c)}
NEURONS["SpikingJellyNeuron"] = partial(SpikingJellyNeuron, "ParametricLIFNode")

every_neuron = pytest.mark.parametrize("make", NEURONS.values(), ids=NEURONS)


def built(make, steps, **arguments):
    """A neuron, told the number of steps where it asks for them."""
    asks = "time_steps" in inspect.signature(make).parameters
    return make(**({"time_steps": steps} if asks else {}), **arguments)


def current(*shape, dtype=torch.float32):
    return 2 * torch.randn(*shape, dtype=dtype)


@every_neuron
@pytest.mark.parametrize("shape", [(4,), (1, 1), (5, 2, 3, 4, 4), (3, 0, 2)])
def test_emits_its_levels_in_the_shape_of_its_input(make, shape):
    neuron, x = built(make, shape[0]), current(*shape)
    spikes = neuron(x)
    assert spikes.shape == x.shape
    assert spikes.dtype == x.dtype
    assert set(spikes.unique().tolist()) <= set(neuron.levels)


@every_neuron
def test_uses_its_levels_and_its_threshold(make):
    x = current(8, 500)
    neuron = built(make, 8)
    same = neuron.state_dict()
    eager = built(make, 8, v_threshold=0.25)
    eager.load_state_dict({k: v for k, v in same.items() if k in ("weight", "a", "b", "c")}, strict=False)  # drawn ones
    assert set(neuron(x).unique().tolist()) == set(neuron.levels)
    assert eager(x).abs().sum() > neuron(x).abs().sum()


@every_neuron
def test_gradients_are_finite(make, parameters_without_gradient):
    assert parameters_without_gradient(built(make, 6), current(6, 40)) == []


@every_neuron
def test_keeps_no_state(make):
    neuron, x = built(make, 6), current(6, 40)
    before = copy.deepcopy(neuron.state_dict())
    first = neuron(x)
    neuron(current(6, 7))
    assert torch.equal(neuron(x), first)
    assert list(neuron.state_dict()) == list(before)
    assert torch.equal(copy.deepcopy(neuron)(x), first)  # of a module that has been through a training forward


@every_neuron
@pytest.mark.parametrize("t", [1, 3, 5])
def test_nothing_before_a_change_changes(make, t):
    neuron, x = built(make, 6), current(6, 200)
    changed = torch.cat([x[:t], current(6 - t, 200)])
    assert torch.equal(neuron(changed)[:t], neuron(x)[:t]) == neuron.causal  # who looks ahead says so
    assert not torch.equal(neuron(changed)[t:], neuron(x)[t:])


@every_neuron
def test_the_loop_over_its_steps_is_its_forward(make):
    neuron, x = built(make, 6).double(), current(6, 3, 40, dtype=torch.float64)
    if not neuron.causal:
        assert not hasattr(neuron, "step")
        return
    state = neuron.initial(x[0])
    assert len(state) == len(getattr(neuron, "remembers", ()))
    assert all(kept.shape[:1] == (3,) for kept in state)  # batch first
    others, spikes = [kept[1:] for kept in state], []
    for t, now in enumerate(x):
        before = [kept.clone() for kept in state]
        s, *after = neuron.step(now, *state)
        assert all(torch.equal(kept, was) for kept, was in zip(state, before, strict=True))  # pure
        alone, *others = neuron.step(now[1:], *others)
        assert torch.equal(alone, s[1:]), t
        spikes, state = [*spikes, s], after
    assert torch.equal(torch.stack(spikes), neuron(x))


@every_neuron
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_membrane_is_fp32(make, dtype):
    neuron, x = built(make, 16), current(16, 4000).to(dtype)
    with torch.autocast("cpu", dtype):
        spikes = neuron(x)
    assert spikes.dtype == dtype
    assert torch.equal(spikes.float(), neuron(x.float()))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: LIF(tau=0.5), "tau 0.5 is below 1: .*give 1 or more"),
        (lambda: PLIF(init_tau=1.0), "init_tau 1.0 is not above 1.*try 2"),
        *[(partial(make, tau=0.5), "tau 0.5 is below 1") for make in (CLIF, ILIF, KLIF, TernaryLIF)],
        *[(partial(make, v_threshold=0.0), "v_threshold .* raise the threshold") for make in (CLIF, ILIF)],
        (lambda: TernaryLIF(v_reset=-1.0), "v_threshold 1.0 is not above"),
        (lambda: ILIF(max_count=0), "max_count 0 is below 1: .*give 1 or more"),
        (lambda: SlidingPSN(order=0), "order 0 is below 1"),
        (lambda: GLIF(time_steps=4, v_threshold=1.0), r"v_threshold 1.0 is not in \(0, 1\).*give 0.5"),
        (lambda: GLIF(time_steps=4)(torch.ones(5, 2)), "parameters for 4 steps and got 5: .*time_steps=5"),
        (
            lambda: GLIF(time_steps=1).step(torch.ones(1), torch.ones(1), torch.ones(1), torch.ones(1).long()),
            "parameters for 1 steps and got 2: build it with time_steps=2",
        ),
        (lambda: PSN(time_steps=4)(torch.ones(3, 2)), "weights for 4 steps and got 3: .*time_steps=3"),
        *[
            (partial(make, **wrong), "v_threshold .* is not above v_reset .*: raise the threshold")
            for make in (IF, KLIF, LIF, PLIF, TernaryLIF)
            for wrong in ({"v_threshold": 0.0}, {"v_reset": 1.0}, {"v_threshold": -0.5, "v_reset": None})
        ],
    ],
)
def test_errors(make, says):
    with pytest.raises(ValueError, match=says):
        make()


@pytest.mark.parametrize(("gates", "fires"), [(-40.0, [1, 1, 1, 1]), (0.0, [0, 1, 0, 1])])
def test_glif_mixes_by_its_gates(gates, fires):
    """Fresh, but for its gates: sigmoid 0 is a linear leak, plain input and a reset by a constant, and no GLIF."""
    glif = GLIF(time_steps=4)
    for gate in (glif.a, glif.b, glif.c):
        torch.nn.init.constant_(gate, gates)
    assert glif(torch.full((4,), 0.7)).tolist() == fires


def test_a_few_steps_by_hand():
    """Every membrane below is a handful of additions and halvings."""
    x = torch.tensor([0.75, 2.0, 2.0])
    klif = KLIF()
    torch.nn.init.constant_(klif.k, 2.0)
    assert klif(x).tolist() == [0, 1, 1]  # h: 0.75, then 2.75, then from 0 2
    assert TernaryLIF()(torch.tensor([2.0, -2.0, -1.0, 1.0])).tolist() == [1, -1, 0, 0]
    assert ILIF(tau=2.0)(torch.tensor([0.5, 2.0, -1.0, 9.0])).tolist() == [0, 2, 0, 4]  # h: 0.5, 2.25, -0.875, 8.5625
    assert ILIF(tau=2.0, unit=0.25)(torch.tensor([9.0])).tolist() == [1]
    steps = torch.tensor([0.4, 0.45])  # NILIF has no membrane, where ILIF's is 0.55 at the second step
    assert NILIF(max_count=4)(steps).tolist() == IntegerHalfEven(max_count=4)(steps).tolist() == [0, 0]
    assert ILIF(unit=0.25)(steps).tolist() == [0, 0.25]
    psn = PSN(time_steps=2)
    psn.weight.data = torch.tensor([[0.0, 1.0], [0.5, 0.0]])
    assert psn(torch.tensor([1.0, 0.5])).tolist() == [0, 0]  # h: 0.5 - 1, 0.5 - 1
    assert psn(torch.tensor([2.0, 1.0])).tolist() == [1, 1]  # the first step sees the second
    assert SlidingPSN(order=2)(torch.tensor([1.0, 0.25, 1.5, 0.25])).tolist() == [
        1,
        0,
        1,
        1,
    ]  # x + half of the one before
    # CLIF: h 1 fires, m 1, v 1 - 1 - sigmoid(1) = -0.731; h 1.634 fires, and its reset is deeper than LIF's
    assert CLIF()(torch.tensor([1.0, 2.0, 1.6, 1.0])).tolist() == [1, 1, 1, 0]
