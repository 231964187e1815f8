"""What every part keeps to, called as `contracts.py` says. New parts are tested by standing in their slot's folder."""

import importlib
import inspect
import re
from pathlib import Path

import pytest
import torch

from spikeformers.layers.block import block
from spikeformers.layers.conv import ConvNorm
from spikeformers.layers.shortcut import MembraneShortcut
from spikeformers.layers.stepping import Stepping
from spikeformers.models.parts import part_names
from spikeformers.neurons import LIF

CATALOGUE = Path(__file__).parents[2] / "docs" / "parts.md"
CALLS = {
    "attention": lambda part: part(8, 2, LIF, bias=True, **asked_for(part)),
    "projection": lambda part: part(8, 8, bias=True),
    "mlp": lambda part: placed(part) if hasattr(part, "in_block") else part(8, 16, LIF),
    "position": lambda part: part(8),
    "shortcut": lambda part: part(ConvNorm(8, 8), LIF, drop_path=0.0),
    "stem": lambda part: part(8, 8, LIF, (2, 1)),
    "head": lambda part: part(8, 3, LIF, **asked_for(part)),
}
SHAPES = {"stem": (4, 3, 8, 2, 2), "head": (4, 3, 3)}


def placed(part):
    return block(MembraneShortcut, LIF, mlp=part(8, 8, LIF))


def asked_for(part):
    """What a part cannot do without, and numbers at which maps of few tokens spike."""
    return {
        k: v
        for k, v in {"time_steps": 4, "tokens": 16, "scale": 0.5, "alpha": 0.25}.items()
        if k in inspect.signature(part).parameters
    }


def parts():
    for slot, call in CALLS.items():
        module = importlib.import_module(f"spikeformers.layers.{slot}")
        for name, part in inspect.getmembers(module, inspect.isclass):
            if part.__module__.startswith(module.__name__) and not name.startswith("_"):
                yield pytest.param(slot, lambda part=part, call=call: call(part), id=name)


every_part = pytest.mark.parametrize(("slot", "make"), list(parts()))


@pytest.fixture
def x():
    return torch.poisson(2.4 * torch.rand(4, 3, 8, 1, 1).expand(4, 3, 8, 4, 4))  # T B C H W counts of spikes


@pytest.mark.parametrize("slot", re.findall(r"^## (\w+)$", CATALOGUE.read_text(), re.MULTILINE))
def test_says_how_it_stands_to_released_code(slot):
    module = importlib.import_module("spikeformers.neurons" if slot == "neuron" else f"spikeformers.layers.{slot}")
    for name in part_names(slot):
        stands = re.findall(r"Released\s+code:\s+(equal|differs|none)[,;. ]", getattr(module, name).__doc__)
        assert len(stands) == 1, f"{name}'s docstring says how it stands to released code, as in Released code: none."
        says = " ".join(getattr(module, name).__doc__.split()).partition("Released code: ")[2]
        to_what = r"equal, (to 1e-\d+|it is \w+'s|by two ports|[\w-]+'s)|differs, \w+|none\b"
        assert re.match(to_what, says), f"{name} does not say to what it is equal, or how it differs: {says}"


@every_part
def test_shape(slot, make, x):
    assert make()(x).shape == SHAPES.get(slot, x.shape)


@every_part
def test_gradients_are_finite(slot, make, x, parameters_without_gradient):
    assert parameters_without_gradient(make(), x) == []


@every_part
def test_a_sample_alone_is_that_sample_in_a_batch(slot, make, x, lively):
    part = lively(make(), x)
    together = part(x)
    alone = torch.cat([part(x[:, i : i + 1]) for i in range(3)], dim=1)
    assert torch.allclose(together, alone, atol=1e-5)
    assert not torch.allclose(together[:, 0], together[:, 1])


@every_part
def test_nothing_before_a_change_changes(slot, make, x, lively):
    part = lively(make(), x)
    changed = torch.cat([x[:2], 1 - x[2:]])
    if slot == "attention" and not getattr(part, "causal", True):  # it looks ahead within a chunk: from its second step
        changed = torch.cat([x[:1], 1 - x[1:]])
        assert not torch.allclose(part(changed)[:1], part(x)[:1])
        return
    assert torch.equal(part(changed)[:2], part(x)[:2])
    assert not torch.allclose(part(changed)[2:], part(x)[2:])


@every_part
def test_keeps_no_state_and_takes_another_length(slot, make, x, lively):
    part = lively(make(), x)
    first = part(x)
    torch.testing.assert_close(part(x[:2]), first[:2], rtol=1e-6, atol=1e-6)  # MKL rounds fewer rows otherwise
    assert torch.equal(part(x), first)


@every_part
def test_one_step_at_a_time_it_gives_what_it_gives_for_all(slot, make, x, lively):
    part = lively(make(), x).double()
    if not getattr(part, "causal", True):
        with pytest.raises(ValueError, match=rf"{type(part).__name__} looks ahead in time, .* such as attention="):
            Stepping(part)
        return
    stepping = Stepping(part)
    state = stepping.initial(x[0].double()).values()
    assert all(len(kept) == 3 for kept in state)  # batch first
    state, ys = [kept[1:] for kept in state], []
    for now in x.double():
        y, *state = stepping(now[1:], *state)
        ys.append(y)
    torch.testing.assert_close(torch.stack(ys), part(x.double()[:, 1:]), rtol=1e-14, atol=1e-14)


@every_part
def test_trains_under_autocast(slot, make, x):
    part = make()
    with torch.autocast("cpu", torch.bfloat16):
        y = part(x.requires_grad_())
    assert y.shape == SHAPES.get(slot, x.shape)
    y.float().square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in part.parameters() if p.requires_grad)
