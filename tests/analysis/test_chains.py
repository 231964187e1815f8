"""Parts that fold into one convolution count as it; others count by what is inside."""

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d

import spikeformers as sf
from spikeformers.analysis import profile
from spikeformers.layers.projection import RepConv, RepLinear
from spikeformers.neurons import LIF


class Chain(nn.Module):
    """Two convolutions of a user, with what they say that they fold into."""

    def __init__(self, folded, inside=None):
        super().__init__()
        self.first, self.last = nn.Conv2d(4, 8, 1, bias=False), nn.Conv2d(8, 6, 3, stride=2, padding=1, bias=False)
        self.inside = inside or nn.Identity()
        self._folded = [folded]  # no module of this one

    def forward(self, x):
        steps = x.shape[0]
        y = self.inside(self.first(x.flatten(0, 1)).unflatten(0, (steps, -1)))
        return self.last(y.flatten(0, 1)).unflatten(0, (steps, -1))

    def folded(self):
        return self._folded[0]


def counted(part, x):
    return [layer for layer in profile(nn.Sequential(part), [x]).layers if layer.op == "convolution"]


@pytest.mark.parametrize(
    "how",
    [
        dict(kernel_size=3, stride=2, padding=1),
        dict(kernel_size=3, stride=2, padding=1, groups=2),
        dict(kernel_size=(3, 1), stride=2, padding=(1, 0)),
        dict(kernel_size=2, stride=2),
    ],
    ids=str,
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_chain_of_ones_own_counts_as_its_convolution(how, wrapped):
    conv = nn.Conv2d(4, 6, bias=True, **how)
    x = (torch.rand(2, 3, 4, 6, 8) < 0.4).float()
    (layer,) = counted(Chain(nn.Sequential(conv, nn.Identity()) if wrapped else conv), x)
    (alone,) = counted(conv, x.flatten(0, 1))
    wanted = conv2d(x.flatten(0, 1), torch.ones_like(conv.weight), None, *(conv.stride, conv.padding, 1, conv.groups))
    assert layer.hits == alone.hits == wanted.sum() and (layer.dense, layer.macs) == (alone.dense, alone.macs)
    assert layer.name == "0" and layer.weights == conv.weight.numel()


@pytest.mark.parametrize("padding", ["same", "valid", 0, (1, 2)])
def test_padding_by_a_word(padding):
    conv = nn.Conv2d(4, 6, (3, 5), padding=padding, bias=False)
    x = (torch.rand(1, 2, 4, 6, 8) < 0.4).float()

    class Widened(Chain):
        def forward(self, x):
            return conv(x.flatten(0, 1)).unflatten(0, (1, -1))

    (layer,) = counted(Widened(conv), x)
    assert layer.hits == conv2d(x[0], torch.ones_like(conv.weight), padding=padding).sum()


@pytest.mark.parametrize(
    "folded",
    [nn.Sequential(nn.Conv2d(4, 8, 1), nn.Conv2d(8, 6, 1)), nn.Sequential(nn.Conv2d(4, 6, 1), nn.BatchNorm2d(6)),
     nn.Linear(4, 6), nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"), nn.Identity()],
    ids=["two", "with a norm", "linear", "reflecting", "nothing"],
)  # fmt: skip
def test_what_folds_into_something_else_counts_by_its_parts(folded):
    assert [layer.name for layer in counted(Chain(folded), torch.ones(1, 2, 4, 6, 6))] == ["0.first", "0.last"]


def test_a_neuron_inside_is_counted():
    found = profile(nn.Sequential(Chain(nn.Conv2d(4, 6, 1), LIF())), [torch.ones(2, 2, 4, 6, 6)])
    assert [activity.name for activity in found.activity] == ["0.inside"]
    assert {"0.first", "0.last"} <= {layer.name for layer in found.layers}


def test_an_input_by_keyword():
    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.chain = Chain(nn.Conv2d(4, 6, 3, stride=2, padding=1))

        def forward(self, x):
            return self.chain(x=x)

    assert [layer.name for layer in counted(Outer(), torch.ones(1, 2, 4, 6, 6))] == ["0.chain"]


@pytest.mark.parametrize("chain", [RepConv, RepLinear])
def test_no_random_number_is_drawn(chain):
    part = chain(4, 6).eval()
    state = torch.get_rng_state()
    profile(nn.Sequential(part), [torch.ones(2, 1, 4, 5, 5)])
    sf.deploy.fold(part)
    assert torch.equal(torch.get_rng_state(), state)
