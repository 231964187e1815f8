"""The contract, over every neuron there is."""

import copy
import inspect
from functools import partial

import pytest
import torch

from spikeformers import neurons
from spikeformers.neurons import IF, LIF, PLIF, SpikingJellyNeuron

NEURONS = {name: c for name, c in vars(neurons).items() if name in neurons.__all__ and inspect.isclass(c)}
NEURONS["SpikingJellyNeuron"] = partial(SpikingJellyNeuron, "ParametricLIFNode")

every_neuron = pytest.mark.parametrize("make", NEURONS.values(), ids=NEURONS)


def current(*shape, dtype=torch.float32):
    return 2 * torch.randn(*shape, dtype=dtype)


@every_neuron
@pytest.mark.parametrize("shape", [(4,), (1, 1), (5, 2, 3, 4, 4), (3, 0, 2)])
def test_emits_its_levels_in_the_shape_of_its_input(make, shape):
    neuron, x = make(), current(*shape)
    spikes = neuron(x)
    assert spikes.shape == x.shape
    assert spikes.dtype == x.dtype
    assert set(spikes.unique().tolist()) <= set(neuron.levels)


@every_neuron
def test_uses_its_levels_and_its_threshold(make):
    x = current(8, 500)
    neuron, eager = make(), make(v_threshold=0.5)
    assert set(neuron(x).unique().tolist()) == set(neuron.levels)
    assert eager(x).sum() > neuron(x).sum()


@every_neuron
def test_gradients_are_finite(make, parameters_without_gradient):
    assert parameters_without_gradient(make(), current(6, 40)) == []


@every_neuron
def test_keeps_no_state(make):
    neuron, x = make(), current(6, 40)
    before = copy.deepcopy(neuron.state_dict())
    first = neuron(x)
    neuron(current(3, 7))
    assert torch.equal(neuron(x), first)
    assert list(neuron.state_dict()) == list(before)
    assert torch.equal(copy.deepcopy(neuron)(x), first)  # of a module that has been through a training forward


@every_neuron
@pytest.mark.parametrize("t", [1, 3, 5])
def test_nothing_before_a_change_changes(make, t):
    neuron, x = make(), current(6, 200)
    assert neuron.causal
    changed = torch.cat([x[:t], current(6 - t, 200)])
    assert torch.equal(neuron(changed)[:t], neuron(x)[:t])
    assert not torch.equal(neuron(changed)[t:], neuron(x)[t:])


@every_neuron
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_membrane_is_fp32(make, dtype):
    neuron, x = make(), current(16, 4000).to(dtype)
    with torch.autocast("cpu", dtype):
        spikes = neuron(x)
    assert spikes.dtype == dtype
    assert torch.equal(spikes.float(), neuron(x.float()))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: LIF(tau=0.5), "tau 0.5 is below 1: .*use 1 or more"),
        (lambda: PLIF(init_tau=1.0), "init_tau 1.0 is not above 1.*try 2"),
        *[
            (partial(make, **wrong), "v_threshold .* is not above v_reset .*: raise the threshold")
            for make in (IF, LIF, PLIF)
            for wrong in ({"v_threshold": 0.0}, {"v_reset": 1.0}, {"v_threshold": -0.5, "v_reset": None})
        ],
    ],
)
def test_errors(make, says):
    with pytest.raises(ValueError, match=says):
        make()
