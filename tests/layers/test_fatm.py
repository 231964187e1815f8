"""The frequency-aware token mixer: its Haar matrix and the sides that have none; the neuron of negative spikes."""

import pytest
import torch

import spikeformers as sf
from spikeformers.layers.attention.fatm import FATM, haar
from spikeformers.neurons import LIF, TernaryIF


@pytest.mark.parametrize("side", [1, 2, 4, 16])
def test_haar_is_kronecker_s_and_orthonormal(side):
    rows = torch.ones(1, 1, dtype=torch.float64)
    while len(rows) < side:
        pair = torch.tensor([[1.0, 1.0]], dtype=torch.float64), torch.tensor([[1.0, -1.0]], dtype=torch.float64)
        rows = torch.cat([torch.kron(rows, pair[0]), torch.kron(torch.eye(len(rows), dtype=torch.float64), pair[1])])
    matrix = haar(side, rows)
    assert torch.equal(matrix, rows / rows.norm(dim=1, keepdim=True))
    assert torch.allclose(matrix @ matrix.T, torch.eye(side, dtype=torch.float64), rtol=0, atol=1e-15)


def test_one_model_takes_maps_of_several_sides():
    part = FATM(8, 2, LIF).eval()
    for height, width in ((4, 4), (8, 8), (2, 8)):
        assert part(torch.ones(2, 1, 8, height, width)).shape == (2, 1, 8, height, width)


def test_other_sides_are_refused():
    model = sf.create_model("swformer_8_512", dim=32, depth=1, time_steps=1)
    with pytest.raises(ValueError, match=r"a side of 14 has no Haar wavelets: give images .* for a side of 8 or 16"):
        model(torch.rand(1, 3, 224, 224))


def test_the_neuron_of_negative_spikes():
    x = torch.tensor([0.6, 0.4, -0.5, -0.001, 0.5, 0.499, 1.0], dtype=torch.float64)
    assert TernaryIF()(x).tolist() == [0, 1, 0, -1, 0, 0, 1]
    assert TernaryIF(v_negative=0.5)(x[2:4]).tolist() == [-1, 0]


def test_its_reset_has_a_gradient():
    """Of the second spike with respect to the first input: it passes the reset only where nothing detaches it."""
    slopes = []
    for detach_reset in (False, True):
        x = torch.tensor([1.2, 0.3], dtype=torch.float64, requires_grad=True)
        TernaryIF(detach_reset=detach_reset)(x)[1].backward()
        slopes.append(x.grad[0].item())
    assert slopes[0] < 0 == slopes[1]


def test_a_threshold_that_is_not_above_0_is_refused():
    with pytest.raises(ValueError, match=r"v_negative 0\.0 is not above 0"):
        TernaryIF(v_negative=0.0)
