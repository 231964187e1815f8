"""A part that breaks its contract is named with it, before anything is trained."""

import textwrap

import pytest
import torch
from torch import nn

import spikeformers as sf
from spikeformers.layers.attention import SSA
from spikeformers.layers.contracts import CURRENT, SPIKES
from spikeformers.layers.conv import ConvNorm
from spikeformers.layers.head import Head
from spikeformers.layers.shortcut import SEWShortcut
from spikeformers.layers.stem import Patches
from spikeformers.models import check_model
from spikeformers.neurons import LIF

TINY = dict(dim=16, depth=1, num_heads=2, image_size=8, time_steps=2, strides=(2, 1), num_classes=3)


def tiny(**parts):
    return sf.create_model("spikformer", **{**TINY, **parts})


class Core(nn.Module):
    """An attention or MLP that only convolves."""

    def __init__(self, dim, num_heads, neuron, *, bias=False):
        super().__init__()
        self.proj = ConvNorm(dim, dim)
        self.seen = torch.zeros(())

    def forward(self, x):
        return self.proj(x)


class Fine(Core):
    pass


class Wide(Core):
    def forward(self, x):
        return torch.cat([super().forward(x)] * 2, 2)


class Remembering(Core):
    def forward(self, x):
        self.seen = self.seen + x.mean().detach()
        return super().forward(x) + self.seen


class Backwards(Core):
    def forward(self, x):
        return super().forward(x).flip(0)


class DeclaredBackwards(Backwards):
    causal = False


class Mingling(Core):
    def forward(self, x):
        y = super().forward(x)
        return y + y.mean(1, keepdim=True)


class Halves(LIF):
    def forward(self, x):
        return super().forward(x) / 2


class Undeclared(nn.Module):
    def __init__(self, *, v_threshold=1.0):
        super().__init__()

    def forward(self, x):
        return (x > 0).to(x.dtype)


class Steps(nn.Module):
    """A neuron that knows how many steps there are, and fires at all of them if at the last."""

    levels = (0.0, 1.0)

    def __init__(self, *, v_threshold=1.0, time_steps):
        super().__init__()
        self.time_steps = time_steps

    def forward(self, x):
        assert len(x) == self.time_steps
        return (x[-1:] > 0).to(x.dtype).expand_as(x)


class Narrow(SEWShortcut):
    def forward(self, x):
        return super().forward(x)[:, :, :8]


class Whole(Patches):
    def forward(self, x):
        return super().forward(x).repeat_interleave(2, -1)


class Nameless(nn.Module):
    def __init__(self, in_channels, dim, neuron, strides):
        super().__init__()
        self.in_channels = in_channels


class Single(Head):
    def forward(self, x):
        return super().forward(x)[..., :1]


def OnlyInside(*, v_threshold=1.0):
    """A maker of neurons: LIF, but for the one of attention."""
    import inspect

    inside = any(
        frame.function == "__init__" and frame.frame.f_locals.get("self").__class__ is Odd for frame in inspect.stack()
    )
    return Undeclared() if inside else LIF(v_threshold=v_threshold)


class Doubling(nn.Module):
    def forward(self, x):
        return torch.cat([x, x], 2)


class NamedNeuron(Core):
    """Attention with a part that is called a neuron and is none."""

    def __init__(self, dim, num_heads, neuron, *, bias=False):
        super().__init__(dim, num_heads, neuron)
        self.out_neuron, self.proj = Doubling(), ConvNorm(2 * dim, dim)

    def forward(self, x):
        return self.proj(self.out_neuron(x))


class Silent(nn.Module):
    def __init__(self, core, neuron, *, drop_path=0.0):
        super().__init__()
        self.core, self.neuron = core, neuron()

    def forward(self, x):
        return x + self.core(self.neuron(x))


SPEDS_BETWEEN = {"part": "SPEDS", "lead": 0, "narrow": 1}


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        (dict(stem=Whole), r"Whole \(stem\) .*returns the shape .*: .*16, 4, 8\], not .*16, 4, 4\]"),
        (dict(stem=Nameless), r"Nameless \(stem\) breaks the contract that a part of the slot stem has stride"),
        (dict(head=Single), r"Single \(head\) .*returns the shape .*, 1\], not .*, 3\]"),
        (
            dict(attention=Wide),
            r"Wide \(blocks.0.attn.core\) breaks .* returns the shape .*: .* 32, 4, 4\], not .* 16, 4, 4\]",
        ),
        (dict(attention=Remembering), r"Remembering \(blocks.0.attn.core\) breaks .*keeps no state between calls"),
        (
            dict(attention=Backwards),
            r"Backwards .*looks ahead in time only where it declares causal = False: .* step 1",
        ),
        (dict(attention=Mingling), "Mingling .*computes each sample of a batch independently of the others"),
        (
            dict(neuron=Halves),
            r"Halves \(stem.stages.0.neuron\) .*emits only those: it emits 0.5, and its levels are \(0.0, 1",
        ),
        (dict(neuron=Undeclared), "Undeclared .*declares levels.*it declares none; .* levels = "),
        (dict(neuron=Steps), "Steps .*looks ahead in time only where it declares"),
        (dict(shortcut=Narrow), r"Narrow \(position\) .*returns the shape that its slot asks for"),
        (dict(stem="MembraneSPS"), r"MembraneSPS returns current, and SEWShortcut \(position\) .*use MembraneShortcut"),
    ],
)
@pytest.mark.parametrize("time_steps", [2, 3])
def test_a_breach_is_named(parts, says, time_steps):
    with pytest.raises(ValueError, match=says) as error:
        check_model(tiny(**parts, time_steps=time_steps))
    assert "\n" not in str(error.value)


CURRENT_SPEDS = {"part": "MembraneSPEDS", "lead": 0, "narrow": 1}
STAGES = dict(depths=(1, 1), dims=(16, 16), num_heads=2, image_size=16, time_steps=2, num_classes=3, strides=(2, 1))


class Bits(SSA):
    takes = (SPIKES,)


class OfCurrent(ConvNorm):
    """A down-sampling of one's own."""

    emits = CURRENT

    def __init__(self, in_dim, dim, neuron, strides):
        super().__init__(in_dim, dim, 3, 2)


@pytest.mark.parametrize(
    ("name", "parts", "says"),
    [
        ("qkformer", dict(downsampling=CURRENT_SPEDS), r"MembraneSPEDS \(blocks.1\) returns current, and SEWShortcut"),
        ("qkformer", dict(downsampling=OfCurrent), r"OfCurrent \(blocks.1\) returns current, .*use MembraneShortcut"),
        (
            "msqkformer_10_384",
            dict(downsampling=SPEDS_BETWEEN),
            r"\(blocks.0.mlp\) returns current, and SPEDS \(blocks.1\)",
        ),
        (
            "qkformer",
            dict(shortcut="SEWIandShortcut"),
            r"SPEDS returns counts of spikes, and SEWIandShortcut .*use SEWS",
        ),
        (
            "spikformer",
            dict(shortcut="SEWShortcut", attention=Bits),
            r"\(position\) returns counts .* Bits \(blocks.0.attn.core",
        ),
        (
            "spikingformer",
            dict(stem="MembraneSPS"),
            r"MembraneSPS returns current, and ConvPosition \(position\) takes",
        ),
        ("sew_resnet", dict(shortcut="MembraneShortcut"), r"MembraneShortcut .* returns current, and SEWDownsample"),
        ("sdt_v2", dict(shortcut="NoShortcut"), r"StridedConv returns current, and NoShortcut .*use MembraneShortcut"),
    ],
)
def test_neighbours_that_do_not_go_together(name, parts, says):
    from tiny_models import TINY as EVERY

    numbers = EVERY.get(name, (name, {**STAGES, "dims": (16, 16, 16), "depths": (1, 1, 1)}))
    with torch.device("meta"):
        model = sf.create_model(numbers[0], **{**numbers[1], **parts})
    with pytest.raises(ValueError, match=says) as error:
        check_model(model)
    assert "\n" not in str(error.value)


class Odd(nn.Module):
    """Attention whose neuron has a name of its own."""

    def __init__(self, dim, num_heads, neuron, *, bias=False):
        super().__init__()
        self.proj, self.gate = ConvNorm(dim, dim), neuron()

    def forward(self, x):
        return self.proj(self.gate(x))


def test_a_neuron_is_known_by_what_made_it_not_by_its_name():
    with pytest.raises(ValueError, match=r"Undeclared .*gate\) .*declares levels"):
        check_model(tiny(attention=Odd, neuron=OnlyInside))
    model = tiny(attention=NamedNeuron)  # no neuron, for all its name: it has no levels to declare
    check_model(model)


def test_a_part_between_may_say_nothing():
    check_model(tiny(shortcut=Silent, stem="MembraneSPS"))


@pytest.mark.parametrize(
    "parts",
    [
        dict(attention=Fine),
        dict(attention=DeclaredBackwards),
        dict(neuron="PSN"),
        dict(stem="MembraneSPS", shortcut="MembraneShortcut"),
        dict(attention="STAtten", neuron="TernaryLIF"),
        dict(neuron={"part": "SpikingJellyNeuron", "node": "ParametricLIFNode"}),
    ],
)
def test_what_keeps_its_contract_passes_and_stays_as_it_is(parts):
    model = tiny(**parts)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.random.get_rng_state()
    check_model(model)
    assert model.training
    assert torch.equal(torch.random.get_rng_state(), random)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_every_family_passes():
    from tiny_models import FAMILIES, build

    for name in FAMILIES:
        check_model(build(name))


def test_a_file_of_ones_own(tmp_path):
    (tmp_path / "ideas.py").write_text(
        textwrap.dedent("""
            from spikeformers.layers.attention import SSA

            class Good(SSA):
                pass

            class Bad(SSA):
                def attend(self, q, k, v, height, width):
                    return super().attend(q, k.flip(0), v, height, width)
        """)
    )
    check_model(tiny(attention=f"{tmp_path}/ideas.py:Good"))
    with pytest.raises(ValueError, match=r"Bad \(blocks.0.attn.core\) .*looks ahead in time"):
        check_model(tiny(attention={"part": f"{tmp_path}/ideas.py:Bad", "scale": 2.0}))
    assert issubclass(type(tiny(attention=f"{tmp_path}/ideas.py:Good").blocks[0].attn.core), SSA)
