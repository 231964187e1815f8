"""Our neurons against SpikingJelly's, and SpikingJelly's as ours."""

import pytest
import torch
from spikingjelly.activation_based import base, neuron, surrogate

import spikeformers as sf
from spikeformers.layers.attention import SSA
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
    SlidingPSN,
    TernaryLIF,
    from_spikingjelly,
)
from spikeformers.ops.surrogate import Sigmoid

TINY = dict(dim=16, depth=1, num_heads=2, image_size=8, time_steps=3)
v_resets = pytest.mark.parametrize("v_reset", [0.0, -0.25, None])


def tiny(**parts):
    return sf.create_model("spikformer_4_384_cifar10", **TINY, **parts)


def assert_same(ours, theirs, shape=(8, 5, 7)):
    """Spikes and all gradients agree in float64."""
    x = 2 * torch.randn(*shape, dtype=torch.float64)
    weights = torch.randn_like(x)
    results = []
    for module in (ours.double(), theirs.double()):
        inputs = [x.clone().requires_grad_(), *module.parameters()]
        spikes = module(inputs[0])
        results.append([spikes, *torch.autograd.grad((spikes * weights).sum(), inputs)])
    assert 0 < results[0][0].count_nonzero() < x.numel()
    for mine, wanted in zip(*results, strict=True):
        assert torch.allclose(mine, wanted, rtol=1e-11, atol=1e-12)


@v_resets
@pytest.mark.parametrize("decay_input", [True, False])
@pytest.mark.parametrize("detach_reset", [True, False])
def test_lif_is_theirs(v_reset, decay_input, detach_reset):
    same = dict(tau=3.0, v_threshold=0.8, v_reset=v_reset, decay_input=decay_input, detach_reset=detach_reset)
    assert_same(LIF(**same), neuron.LIFNode(**same, step_mode="m"))


@v_resets
@pytest.mark.parametrize("decay_input", [True, False])
def test_plif_is_theirs(v_reset, decay_input):
    same = dict(init_tau=3.0, v_reset=v_reset, decay_input=decay_input, detach_reset=True)
    assert_same(PLIF(**same), neuron.ParametricLIFNode(**same, step_mode="m"))


@v_resets
def test_if_is_theirs(v_reset):
    same = dict(v_threshold=1.5, v_reset=v_reset, detach_reset=True)
    assert_same(IF(**same), neuron.IFNode(**same, step_mode="m"))


@v_resets
@pytest.mark.parametrize("decay_input", [True, False])
@pytest.mark.parametrize("detach_reset", [True, False])
def test_klif_is_theirs(v_reset, decay_input, detach_reset):
    same = dict(tau=3.0, v_threshold=0.8, v_reset=v_reset, decay_input=decay_input, detach_reset=detach_reset)
    ours, theirs = KLIF(**same), neuron.KLIFNode(**same, step_mode="m")
    for module in (ours, theirs):
        torch.nn.init.constant_(module.k, 1.25)
    assert_same(ours, theirs)


def test_clif_is_theirs():
    same = dict(tau=3.0, v_threshold=0.8)
    assert_same(
        CLIF(**same), neuron.ComplementaryLIFNode(**same, surrogate_function=surrogate.Sigmoid(), step_mode="m")
    )


def test_glif_is_theirs():
    ours, theirs = GLIF(time_steps=8, v_threshold=0.6), neuron.GatedLIFNode(T=8, init_v_threshold=0.6)
    names = dict(a="alpha", b="beta", c="gamma", decay="tau", linear="linear_decay")
    names |= dict(threshold="v_threshold", drop="v_subreset", gain="conduct")
    theirs.load_state_dict({names[key]: value for key, value in ours.state_dict().items()})
    ordered = dict(theirs.named_parameters())
    mine = dict(ours.named_parameters())
    ours.parameters = lambda: iter(mine.values())  # in the order in which theirs stand
    theirs.parameters = lambda: (ordered[names[key]] for key in mine)
    assert_same(ours, theirs, (8, 2, 3, 4, 5))


def test_psn_is_theirs():
    ours, theirs = PSN(time_steps=8), neuron.PSN(T=8)
    theirs.load_state_dict(ours.state_dict())
    assert_same(ours, theirs)


@pytest.mark.parametrize("order", [1, 3, 9])
def test_sliding_psn_is_theirs(order):
    assert_same(SlidingPSN(order=order, surrogate=Sigmoid()), _sliding(order))


def _sliding(order):
    return neuron.SlidingPSN(k=order, surrogate_function=surrogate.Sigmoid(), step_mode="m")


@pytest.mark.parametrize("detach_reset", [True, False])
def test_ilif_is_theirs(detach_reset):
    same = dict(v_threshold=0.8, detach_reset=detach_reset)
    assert_same(ILIF(**same), neuron.ILIFNode(**same, step_mode="m"))
    x = 2 * torch.randn(6, 50)
    assert torch.equal(NILIF(**same, max_count=4)(x), ILIF(**same)(x) / 4)


@pytest.mark.parametrize("v_reset", [0.0, -0.25, None])
@pytest.mark.parametrize("detach_reset", [True, False])
def test_ternary_lif_is_theirs(v_reset, detach_reset):
    same = dict(tau=3.0, v_threshold=0.8, v_reset=v_reset, detach_reset=detach_reset)
    assert_same(TernaryLIF(**same), neuron.TernaryLIFNode(**same, step_mode="m"))


@pytest.mark.parametrize("named", [neuron.LIFNode, "LIFNode"])
def test_wrapped_lif_is_ours(named):
    assert_same(LIF(tau=4.0, v_reset=None), from_spikingjelly(named, tau=4.0, v_reset=None)())


def test_plain_in_a_spikformer(parameters_without_gradient):
    model = tiny(neuron=from_spikingjelly(neuron.ParametricLIFNode, init_tau=3.0))
    x = torch.randn(2, 3, 8, 8)
    assert parameters_without_gradient(model, x) == []
    assert model.blocks[0].attn.core.attn_neuron.node.v_threshold == 0.5
    assert model.blocks[0].attn.core.q_neuron.node.v_threshold == 1.0
    ours = tiny(neuron={"part": "PLIF", "init_tau": 3.0})
    ours.load_state_dict({key.replace(".node.w", ".w"): value for key, value in model.state_dict().items()})
    assert torch.allclose(ours(x), model(x), atol=1e-6)


def test_state_is_cleared():
    spiking = from_spikingjelly("LIFNode", store_v_seq=True)()
    spiking(torch.randn(4, 6, requires_grad=True))
    assert isinstance(spiking.node, base.MemoryModule)
    assert not any(isinstance(state, torch.Tensor) for state in spiking.node._memories.values())


def test_psn_is_told_the_time_steps():
    def attention(dim, num_heads, neuron, *, bias=False):  # one that asks for no threshold of its own
        return SSA(dim, num_heads, lambda v_threshold=None: neuron(), bias=bias)

    model = tiny(neuron=from_spikingjelly(neuron.PSN, causal=False), attention=attention)
    assert model.blocks[0].attn.core.q_neuron.node.weight.shape == (3, 3)
    assert model(torch.randn(2, 3, 8, 8)).shape == (2, 10)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (
            lambda: tiny(neuron=from_spikingjelly("PSN")),
            "PSN has no v_threshold, and the part sets it to 0.5: use another neuron",
        ),
        (lambda: from_spikingjelly("CUBALIFNode"), "CUBALIFNode runs one step at a time only: choose .* step_mode 'm'"),
        (lambda: from_spikingjelly("LIFFNode"), "SpikingJelly has no neuron 'LIFFNode': choose a class of"),
        (lambda: from_spikingjelly("torch.nn:Identitty"), "no neuron 'torch.nn:Identitty'"),
    ],
)
def test_errors(make, says):
    with pytest.raises(ValueError, match=says):
        make()


def test_without_spikingjelly_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "spikingjelly.activation_based.neuron", None)
    with pytest.raises(ImportError, match=r"pip install 'spikeformers\[spikingjelly\]'"):
        from_spikingjelly("LIFNode")
