"""MLPs, shortcuts, position codes and stems against their formulas, written out independently."""

import math
from functools import partial

import pytest
import torch
from torch.nn.functional import max_pool2d, unfold

import spikeformers as sf
from spikeformers.layers.block import block
from spikeformers.layers.contracts import CURRENT
from spikeformers.layers.conv import ConvNorm
from spikeformers.layers.mlp import EMSP, InnerResidualMLP, RepConvFFN
from spikeformers.layers.position import CPGPosition, NoPosition
from spikeformers.layers.shortcut import (
    MembraneShortcut,
    NoShortcut,
    SEWAndShortcut,
    SEWIandShortcut,
    SEWShortcut,
)
from spikeformers.layers.stem import SCS, EmbedMax, Patches
from spikeformers.neurons import ILIF, LIF

T, B, C, H, W = 3, 2, 8, 4, 4


@pytest.fixture
def x():
    return (torch.rand(T, B, C, H, W) < 0.4).float()


def test_emsp(x, lively):
    part = lively(EMSP(C, 16, LIF), x)
    h = LIF()(part.fc1(x))
    gate = LIF()(part.depthwise(h[:, :, :8]))
    assert torch.equal(part(x), part.fc2(gate * h[:, :, 8:]))
    assert 0 < gate.mean() < 1
    assert part.fc2.conv.in_channels == 8
    with pytest.raises(ValueError, match="hidden_dim 15 is odd"):
        EMSP(C, 15, LIF)


@pytest.mark.parametrize(
    ("shortcut", "branch"),
    [(MembraneShortcut, lambda x, layer: layer(LIF()(x))), (SEWShortcut, lambda x, layer: LIF()(layer(x)))],
)
def test_inner_residual(x, lively, shortcut, branch):
    part = lively(block(shortcut, LIF, mlp=InnerResidualMLP(C, C, LIF)), x)
    first, second = (layer.core for layer in part.mlp)
    y = x + branch(x, first)
    assert torch.equal(part(x), y + branch(y, second))
    with pytest.raises(ValueError, match=r"hidden_dim 16 is not dim 8.*mlp_ratio=1"):
        InnerResidualMLP(C, 16, LIF)


def test_the_second_neuron_of_inner_residual_sees_the_stream():
    """A stream of 2: 2 + 0.5, which fires again, and 1."""
    part = block(MembraneShortcut, LIF, mlp=InnerResidualMLP(1, 1, LIF, bias=False)).eval()
    for shortcut, weight in zip(part.mlp, (0.5, 1.0), strict=True):
        torch.nn.init.constant_(shortcut.core.conv.weight, weight)
    assert part(torch.full((1, 1, 1, 1, 1), 2.0)).item() == pytest.approx(3.5, abs=1e-4)


def test_weights_of_an_inner_residual_of_0_3_0_load(tmp_path):
    """There its layers shared one shortcut."""
    tiny = dict(dim=16, depth=1, num_heads=2, mlp_ratio=1, image_size=8, num_classes=3, strides=(2, 1))
    tiny |= dict(mlp="InnerResidualMLP", neuron="PLIF")
    model = sf.create_model("spikformer", **tiny)
    before = {".fc1.core.": ".core.fc1.", ".fc2.core.": ".core.fc2.", ".fc1.neuron.": ".neuron.",
              ".fc2.neuron.": ".core.neuron."}  # fmt: skip
    old = {}
    for number, (key, value) in enumerate(model.state_dict().items()):
        for now, then in before.items():
            key = key.replace(f".mlp{now}", f".mlp{then}")
        old[key] = value.fill_(number)
    assert {"blocks.0.mlp.core.fc1.conv.weight", "blocks.0.mlp.neuron.w", "blocks.0.mlp.core.neuron.w"} <= {*old}
    torch.save(old, tmp_path / "old.pth")
    loaded = sf.load_checkpoint(sf.create_model("spikformer", **tiny), tmp_path / "old.pth").state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in model.state_dict().items())


def test_rep_conv_ffn_folds(x, lively):
    part = lively(RepConvFFN(C, 16, LIF).double(), x.double())
    y = part(x.double())
    folded = part.fc2.folded()(LIF()(part.fc1.folded()(x.double())))
    assert torch.allclose(y, folded)
    assert y.std() > 0.05


def test_and_iand_and_none(x, lively):
    core = lively(ConvNorm(C, C), x)
    fired = LIF()(core(x))
    assert 0 < fired.mean() < 1
    assert torch.equal(SEWAndShortcut(core, LIF)(x), ((x == 1) & (fired == 1)).float())
    assert torch.equal(SEWIandShortcut(core, LIF)(x), ((x == 1) & (fired == 0)).float())
    assert torch.equal(NoShortcut(core, LIF)(x), fired)


@pytest.mark.parametrize("shortcut", [SEWAndShortcut, SEWIandShortcut])
def test_gates_take_binary_spikes(shortcut):
    with pytest.raises(ValueError, match=r"drop_path 0.1 rescales the branch, and SEW\w+ takes spikes: set it to 0"):
        shortcut(ConvNorm(C, C), LIF, drop_path=0.1)
    with pytest.raises(ValueError, match=r"SEW\w+ takes spikes of 0 and 1, and ILIF has the levels"):
        shortcut(ConvNorm(C, C), ILIF)


def test_cpg_bits_by_hand(x, lively):
    part = CPGPosition(C, cells=4, w_max=100.0)  # frequencies 1 and 100^(-1/2), a tenth
    bits = part.bits(torch.arange(40), x)
    for position in range(40):
        angles = (position, position / 10)
        wanted = [float(f(angle) >= 0.8) for angle in angles for f in (math.sin, math.cos)]
        assert bits[position].tolist() == wanted
    part = lively(part, x)
    y = part(x)
    t, h, w = 2, 1, 3
    at = x[t, :, :, h, w] @ part.stream.weight[:, :, 0, 0].T
    at = at + part.bits(torch.arange(T * H * W), x)[t * H * W + h * W + w] @ part.code.weight[:, :, 0, 0].T
    norm = part.norm
    at = (at - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias
    assert torch.allclose(y[t, :, :, h, w], at, atol=1e-5)
    with pytest.raises(ValueError, match="cells 3 are not pairs"):
        CPGPosition(C, cells=3)


def test_no_position_sees_no_neighbours(x):
    part = NoPosition(C).eval()
    changed = x.clone()
    changed[..., 0, 0] = 1 - changed[..., 0, 0]
    assert torch.equal(part(changed)[..., 1:, :], part(x)[..., 1:, :])


def test_patches(lively):
    images = torch.randn(T, B, 3, 8, 8)
    stem = lively(Patches(3, C, LIF, (2, 2)), images)
    patches = unfold(images.flatten(0, 1), 4, stride=4).transpose(1, 2)  # T B, N, 3 4 4
    y = (patches @ stem.proj.conv.weight.flatten(1).T).transpose(1, 2).reshape(T, B, C, 2, 2)
    norm = stem.proj.norm
    y = stem.proj.norm(y.flatten(0, 1)).view_as(y)
    assert norm.training is False
    assert torch.equal(stem(images), LIF()(y))
    assert stem.stride == 4


def test_scs(lively):
    images = torch.randn(T, B, 3, 8, 8)
    stem = lively(SCS(3, C, LIF, (2, 1)), images)
    y = images
    for stage in stem.stages:
        y = LIF()(stage.proj(y))
        inner = stage.residual.core
        y = y + LIF()(inner.conv2(LIF()(inner.conv1(y))))
    assert torch.equal(stem(images), y)
    assert set(y.unique().tolist()) == {0, 1, 2}
    sizes = [(s.proj.conv.weight.shape[2:], s.residual.core.conv1.conv.weight.shape[2:]) for s in stem.stages]
    assert sizes == [((2, 2), (3, 3)), ((3, 3), (3, 3))]
    assert [stage.proj.conv.stride for stage in stem.stages] == [(2, 2), (1, 1)]
    for wrong in (partial(SCS, 3, C, LIF, ()), partial(SCS, 3, C, LIF, (2, 3))):
        with pytest.raises(ValueError, match="are not one or more of 1 and 2"):
            wrong()
    with pytest.raises(ValueError, match="dim 9 is not a multiple of 2"):
        SCS(3, 9, LIF, (2, 1))


def test_embed_max_pools_on_its_side_too(lively):
    images = torch.randn(T, B, 3, 8, 8)
    stem = lively(EmbedMax(3, C, LIF, (1, 2)), images)
    spikes = LIF()(stem.lead(images))
    side = stem.side
    current = side.norm(side.conv(spikes.flatten(0, 1)))
    pooled = max_pool2d(current, 3, 2, padding=1).unflatten(0, (T, B))
    assert torch.allclose(stem(images), stem.main(spikes) + pooled, atol=1e-6)
    assert stem.emits == CURRENT
