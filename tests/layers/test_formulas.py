"""Parts against their papers' formulas, written out independently, token-last and step by step, in float64."""

import pytest
import torch
from torch.nn.functional import batch_norm, conv2d, linear, max_pool2d

from spikeformers.layers.attention import SSA
from spikeformers.layers.attention.heads import merge_heads, split_heads
from spikeformers.layers.conv import ConvNorm
from spikeformers.layers.head import Head
from spikeformers.layers.mlp import MLP
from spikeformers.layers.shortcut import MembraneShortcut, SEWShortcut
from spikeformers.layers.stem import SPS
from spikeformers.neurons import LIF

T, B, C, H, W, M = 3, 2, 8, 3, 4, 2
N, D = H * W, C // M


@pytest.fixture
def x():
    return torch.randint(0, 3, (T, B, C, H, W)).double()


def lif(current, threshold=1.0):
    v, spikes = torch.zeros_like(current[0]), []
    for step in current:
        v = v + (step - v) / 2
        spikes.append((v >= threshold).double())
        v = torch.where(v >= threshold, 0.0, v)
    return torch.stack(spikes)


def token_linear(tokens, layer):
    """A linear layer on `[T, B, N, C]`, then batch norm over the channels."""
    y = linear(tokens, layer.conv.weight[:, :, 0, 0], layer.conv.bias)
    norm = layer.norm
    return (y - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias


def to_tokens(x):
    return x.reshape(T, B, C, N).transpose(2, 3)


def to_map(tokens):
    return tokens.transpose(2, 3).reshape(T, B, C, H, W)


def assert_close(ours, expected):
    assert ours.shape == expected.shape
    assert torch.allclose(ours, expected, rtol=1e-10, atol=1e-10)
    assert expected.std() > 0.01


@pytest.mark.parametrize("scale", [0.125, 0.25])
@pytest.mark.parametrize("bias", [True, False])
def test_ssa(x, lively, scale, bias):
    ssa = lively(SSA(C, M, LIF, bias=bias, scale=scale).double(), x)
    q, k, v = (
        lif(token_linear(to_tokens(x), layer)).reshape(T, B, N, M, D).permute(0, 1, 3, 2, 4)
        for layer in (ssa.q, ssa.k, ssa.v)
    )
    y = (q @ k.transpose(-2, -1) * scale) @ v  # T B M N D
    y = lif(y.transpose(2, 3).reshape(T, B, N, C), 0.5)
    assert (ssa.q.conv.bias is not None) == bias
    assert ssa.proj.conv.bias is not None
    assert_close(ssa(x), to_map(token_linear(y, ssa.proj)))


def test_mlp(x, lively):
    mlp = lively(MLP(C, 4 * C, LIF).double(), x)
    assert_close(mlp(x), to_map(token_linear(lif(token_linear(to_tokens(x), mlp.fc1)), mlp.fc2)))


def test_shortcuts(x, lively):
    for shortcut, formula in (
        (SEWShortcut, lambda core: x + lif(core(x))),
        (MembraneShortcut, lambda core: x + core(lif(x))),
    ):
        core = lively(ConvNorm(C, C).double(), x)
        assert_close(shortcut(core, LIF)(x), formula(core))


@pytest.mark.parametrize(("kernel_size", "stride"), [(1, 1), (3, 1), (3, 2), (5, 1)])
@pytest.mark.parametrize("bias", [True, False])
def test_conv_norm(x, lively, kernel_size, stride, bias):
    layer = lively(ConvNorm(C, 5, kernel_size, stride, bias=bias).double(), x)
    conv, norm = layer.conv, layer.norm
    expected = torch.stack([
        batch_norm(
            conv2d(step, conv.weight, conv.bias, stride, padding=kernel_size // 2),
            norm.running_mean, norm.running_var, norm.weight, norm.bias,
        )
        for step in x
    ])  # fmt: skip
    assert (conv.bias is not None) == bias
    assert_close(layer(x), expected)


def test_conv_norm_shares_statistics_over_time(x):
    layer = ConvNorm(C, 5).double()
    y = layer(x * torch.arange(1, T + 1).view(T, 1, 1, 1, 1))
    assert torch.allclose(y.mean((0, 1, 3, 4)), torch.zeros(5).double(), atol=1e-10)
    assert y[0].std() < y[-1].std()


def test_sps(lively):
    x = torch.randn(T, B, 3, 8, 4, dtype=torch.float64)
    stem = lively(SPS(3, C, LIF, (1, 2)).double(), x)
    y = lif(stem.stages[0].proj(x))
    y = lif(stem.stages[1].proj(y))
    assert [stage.proj.conv.out_channels for stage in stem.stages] == [C // 2, C]
    assert_close(stem(x), torch.stack([max_pool2d(step, 3, 2, padding=1) for step in y]))


def test_head(x):
    head = Head(C, 5, LIF).double()
    assert_close(head(x), linear(x.mean((3, 4)), head.linear.weight, head.linear.bias))


def test_heads_split_and_merge(x):
    heads = split_heads(x, M)
    assert heads.shape == (T, B, M, N, D)
    assert heads[1, 0, 1, W + 2, 3] == x[1, 0, D + 3, 1, 2]
    assert torch.equal(merge_heads(heads, x), x)
