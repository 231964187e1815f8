import pytest
import torch
from torch import nn

from spikeformers.layers.drop_path import DropPath
from spikeformers.layers.shortcut import MembraneShortcut, SEWShortcut
from spikeformers.neurons import LIF

X = torch.rand(3, 4000, 2) + 0.5


def test_drops_a_sample_over_all_steps_and_keeps_the_mean():
    ratio = DropPath(0.25).train()(torch.ones_like(X))
    assert torch.equal(ratio, ratio[:1, :, :1].expand_as(X))
    assert torch.allclose(ratio.unique(), torch.tensor([0, 1 / 0.75]))
    assert ratio.mean().item() == pytest.approx(1, abs=0.03)


def test_draws_anew_at_every_call():
    drop_path = DropPath(0.5).train()
    assert not torch.equal(drop_path(X), drop_path(X))


def test_does_nothing_in_eval_or_at_rate_0():
    assert torch.equal(DropPath(0.5).eval()(X), X)
    assert torch.equal(DropPath(0.0).train()(X), X)


@pytest.mark.parametrize("shortcut", [SEWShortcut, MembraneShortcut])
def test_shortcuts_drop_the_branch_and_never_the_stream(shortcut):
    x = torch.full((3, 4000, 2), 4.0)
    branch = shortcut(nn.Identity(), LIF, drop_path=0.5).train()(x) - x  # spikes at every step, or 0
    assert set(branch.unique().tolist()) == {0.0, 2.0}


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5])
def test_rate(rate):
    with pytest.raises(ValueError, match=rf"drop_path {rate} is not in \[0, 1\)"):
        DropPath(rate)
