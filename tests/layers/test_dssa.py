"""DSSA by its formula, patch by patch and step by step, and its running rates."""

import pytest
import torch

from spikeformers.layers.attention import DSSA
from spikeformers.layers.mlp import GWFFN
from spikeformers.neurons import LIF

T, B, C, M, P = 3, 2, 8, 2, 2
D = C // M


@pytest.fixture
def x():
    return (torch.rand(T, B, C, 4, 6) < 0.4).double()


def normed(y, norm):
    return (y - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias


def test_formula(x, lively):
    dssa = lively(DSSA(C, M, LIF, patch_size=P).double(), x)
    neuron = LIF()
    patches = x.reshape(T, B, C, 2, P, 3, P).permute(0, 1, 3, 5, 2, 4, 6).reshape(T, B, 6, C * P * P)
    kv = normed(patches @ dssa.kv.conv.weight.reshape(2 * C, -1).T, dssa.kv.norm)  # T B n 2C
    heads = []
    for m in range(M):
        k, v = kv[..., 2 * D * m : 2 * D * m + D], kv[..., 2 * D * m + D : 2 * D * (m + 1)]
        q = x[:, :, m * D : (m + 1) * D].flatten(3).transpose(2, 3)  # T B N D
        attn = neuron(q @ k.transpose(2, 3) / (D * dssa.x_rate[m]).sqrt())
        heads.append(neuron(attn @ v / (6 * dssa.attn_rate[m]).sqrt()))
    y = normed(torch.cat(heads, -1) @ dssa.proj.conv.weight[:, :, 0, 0].T, dssa.proj.norm)  # T B N C
    assert y.std() > 0.05
    assert torch.allclose(dssa(x), y.transpose(2, 3).reshape(x.shape), rtol=0, atol=1e-10)


def test_rates_average_what_training_sees(x):
    dssa = DSSA(C, M, LIF, patch_size=P).double().train()
    first, then = (part.unflatten(2, (M, D)).mean((0, 1, 3, 4, 5)) for part in (x, 1 - x))
    dssa(x)
    assert torch.allclose(dssa.x_rate.flatten(), first)
    dssa(1 - x)
    assert torch.allclose(dssa.x_rate.flatten(), 0.999 * first + 0.001 * then)
    kept = dssa.x_rate.clone(), dssa.attn_rate.clone()
    dssa.eval()(x)
    assert torch.equal(dssa.x_rate, kept[0])
    assert torch.equal(dssa.attn_rate, kept[1])
    assert not dssa.x_rate.requires_grad


def test_a_rate_that_has_seen_nothing_counts_as_one(x):
    fresh, ones = DSSA(C, M, LIF).double().eval(), DSSA(C, M, LIF).double().eval()
    weights = fresh.state_dict()
    ones.load_state_dict({**weights, "x_rate": torch.ones(1, 1, M, 1, 1), "attn_rate": torch.ones(1, 1, M, 1, 1)})
    assert torch.equal(fresh(x), ones(x))


def test_a_head_that_was_silent_takes_the_first_rate_it_fires_at(x):
    dssa = DSSA(C, M, LIF).double().train()
    silent = x * (torch.arange(C) < D).view(C, 1, 1)  # the second head sees nothing
    assert dssa(silent).isfinite().all()
    assert dssa.x_rate[1] == 0
    dssa(x)
    assert torch.allclose(dssa.x_rate[1], x[:, :, D:].mean())


def test_a_late_head_is_not_scaled_by_a_thousandth_of_its_rate():
    """Its rate at the second batch is what it fired, 0.158; the released average from 0 has 0.000158."""
    silent = torch.zeros(T, B, C, 5, 25).double()
    silent[:, :, :D] = 1.0
    late = torch.zeros_like(silent)
    late[:, :, D:].copy_((torch.arange(T * B * D * 125) % 500 < 79).view(T, B, D, 5, 25))
    dssa = DSSA(C, M, LIF).double().train()
    dssa(silent)
    dssa(late)
    assert dssa.x_rate[1].item() == pytest.approx(0.158)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DSSA(100, 8, LIF), "dim 100 is not a multiple of num_heads 8: give a number .* that divides it"),
        (
            lambda: DSSA(8, 2, LIF, patch_size=4)(torch.ones(1, 1, 8, 6, 8)),
            "6 x 8 is not a multiple of patch_size 4: resize the image",
        ),
        (lambda: GWFFN(8, 96, LIF), "hidden_dim 96 is not a multiple of group_size 64: give a size that divides it"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()
