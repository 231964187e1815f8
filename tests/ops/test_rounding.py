"""Rounding to counts: where the two differ, ties and ends."""

import pytest
import torch

from spikeformers.neurons import IELIF, IntegerHalfEven, IntegerHalfUp
from spikeformers.ops.rounding import round_half_even, round_half_up

X = [float("-inf"), -0.1, 0.0, 0.4, 0.5, 1.5, 2.5, 3.5, 4.0, 4.1, float("inf")]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("rounds", "counts", "derivative"),
    [
        (round_half_even, [0, 0, 0, 0, 0, 2, 2, 4, 4, 4, 4], [0, 0, 1, 1, 1, 1, 1, 1, 1, 0, 0]),
        (round_half_up, [0, 0, 0, 0, 1, 2, 3, 4, 4, 4, 4], [0, 0, 0, 1, 1, 1, 1, 1, 0, 0, 0]),
    ],
)
def test_ties_and_ends(rounds, counts, derivative, dtype):
    x = torch.tensor(X, dtype=dtype, requires_grad=True)
    rounded = rounds(x, 4)
    rounded.sum().backward()
    assert rounded.tolist() == counts
    assert x.grad.tolist() == derivative


@pytest.mark.parametrize("neuron", [IntegerHalfEven, IntegerHalfUp])
def test_the_neurons_scale_counts_and_gradients(neuron):
    x = torch.tensor([0.0, 0.3, 0.7, 1.3, 9.0], requires_grad=True)
    out = neuron(v_threshold=0.5, max_count=8)(x)  # counts 0, 1, 1, 3, 8
    out.sum().backward()
    assert out.tolist() == [0, 1 / 8, 1 / 8, 3 / 8, 1]
    assert x.grad[1:].tolist() == [0.25, 0.25, 0.25, 0]  # unit / v_threshold
    assert neuron(unit=1.0).levels == (0, 1, 2, 3, 4)
    assert neuron(unit=1.0)(x).tolist() == [0, 0, 1, 1, 4]


def test_ielif_divides_one_threshold_into_its_spikes():
    x = torch.tensor([-0.1, 0.12, 0.125, 0.375, 0.7, 1.0, 1.2], requires_grad=True)
    out = IELIF()(x)
    out.sum().backward()
    assert out.tolist() == [0, 0, 0.25, 0.5, 0.75, 1, 1]  # ties upwards
    assert x.grad.tolist() == [0, 1, 1, 1, 1, 0, 0]
    assert IELIF(unit=0.5)(x).tolist() == [0, 0, 0.5, 1, 1.5, 2, 2]  # after attention
    assert IELIF(v_threshold=0.5, max_count=2)(x).tolist() == [0, 0, 0.5, 1, 1, 1, 1]


def test_a_neuron_that_never_fires():
    with pytest.raises(ValueError, match=r"max_count 0 is below 1: .*give 1 or more"):
        IntegerHalfUp(max_count=0)


@pytest.mark.parametrize("rounds", [round_half_even, round_half_up])
def test_without_a_gradient_nothing_but_the_rounding_runs(rounds):
    x = torch.tensor(X).requires_grad_()
    expected = rounds(x, 4)
    with torch.no_grad():
        assert torch.equal(rounds(x, 4), expected)
        program = torch.export.export(_Rounds(rounds), (x,))
    operations = [node.target for node in program.graph.nodes if node.op == "call_function"]
    assert not {torch.ops.aten.where.ScalarOther, torch.ops.aten.sub.Tensor, torch.ops.aten.eq.Tensor} & {*operations}
    assert torch.ops.aten.clamp.default in operations


class _Rounds(torch.nn.Module):
    def __init__(self, rounds):
        super().__init__()
        self.rounds = rounds

    def forward(self, x):
        return self.rounds(x, 4)
