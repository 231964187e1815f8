"""The head with a weight per token and step: the paper's sum, step by step, and what it refuses."""

import pytest
import torch
from torch.nn.functional import batch_norm, conv2d

import spikeformers as sf
from spikeformers.layers.head import SpatioTemporalHead
from spikeformers.layers.stepping import Stepping
from spikeformers.neurons import LIF


@pytest.fixture
def head():
    return SpatioTemporalHead(6, 3, LIF, tokens=4, time_steps=3).double()


@pytest.fixture
def x():
    return torch.randn(3, 5, 6, 2, 2, dtype=torch.float64)  # T B C H W


@pytest.mark.parametrize("training", [True, False])
def test_the_mean_is_one_kernel_over_tokens_and_steps(head, x, training):
    head.norm.running_mean.normal_()
    head.train(training)
    stacked = x.flatten(-2).permute(1, 2, 3, 0)  # B C N T
    whole = conv2d(stacked, head.conv.weight, head.conv.bias, groups=6)
    norm = head.norm
    statistics = (norm.running_mean.clone(), norm.running_var.clone())
    whole = batch_norm(whole, *statistics, norm.weight, norm.bias, training, norm.momentum, norm.eps)
    expected = head.linear(whole.flatten(1))
    assert torch.allclose(head(x).mean(0), expected, rtol=0, atol=1e-12)
    if training:
        assert torch.allclose(norm.running_mean, statistics[0]) and torch.allclose(norm.running_var, statistics[1])


def test_it_refuses_other_sizes_and_more_steps(head, x):
    with pytest.raises(
        ValueError,
        match=r"has weights for 4 tokens and a map of 2 x 4 has 8: resize .* image_size, or the head's tokens",
    ):
        head(torch.zeros(3, 1, 6, 2, 4, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"has weights for 3 steps and the input has 4: .* built with time_steps=4"):
        head(torch.cat([x, x[:1]]))
    stepping = Stepping(head)
    state = stepping.initial(x[0]).values()
    for now in x:
        _, *state = stepping(now, *state)
    with pytest.raises(ValueError, match="SpatioTemporalHead has weights for 3 steps and got 4: build it with"):
        stepping(x[0], *state)


def test_the_model_says_so_too():
    tiny = dict(dim=32, depth=1, num_heads=2, image_size=16, time_steps=2)
    model = sf.create_model("sglformer_4_384_cifar10", **tiny).eval()
    assert model.head.tokens == 16 and model.head.steps == 2
    assert sf.create_model("sglformer_4_384_cifar10", **{**tiny, "image_size": 32}).head.tokens == 64
    own = sf.create_model("sglformer_4_384_cifar10", **tiny, head={"part": "SpatioTemporalHead", "tokens": 64})
    assert own.head.tokens == 64
    with pytest.raises(ValueError, match="weights for 16 tokens and a map of 8 x 8 has 64"):
        model(torch.rand(1, 3, 32, 32))
    with pytest.raises(ValueError, match="weights for 2 steps and the input has 3"):
        model(torch.rand(3, 1, 3, 16, 16))
