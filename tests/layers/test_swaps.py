"""Every part of a slot works beside every part of every other slot, where the contracts allow the two."""

import itertools
from functools import partial

import pytest
import torch

import spikeformers as sf
from spikeformers.models import check_model
from spikeformers.models.parts import part_names
from spikeformers.neurons import SpikingJellyNeuron

SLOTS = ("attention", "neuron", "stem", "mlp", "shortcut", "position")
PARTS = {slot: part_names(slot) for slot in SLOTS}
TINY = dict(dim=16, depth=1, num_heads=2, mlp_ratio=1, image_size=8, time_steps=2, strides=(2, 1), num_classes=3)

BINARY_ONLY = {"SEWAndShortcut", "SEWIandShortcut", "XNORSSA", "GrayXNOR", "LogXNOR"}
NOT_BINARY = {"IELIF", "ILIF", "NILIF", "IntegerHalfEven", "IntegerHalfUp", "TernaryIF", "TernaryLIF"}
OF_CURRENT = {"AvgPoolMixer", "EmbedMax", "MembraneResNetStem", "MembraneSPEDS", "MembraneSPS", "StridedConv"}
BINARY_STREAM = {"SEWAndShortcut", "SEWIandShortcut"}
OF_COUNTS = {"SPEDS", "SCS"}
OF_SPIKES = {"NoShortcut", "SEWAndShortcut", "SEWIandShortcut", "SEWShortcut"}


def refused(one, other):
    apart = ((BINARY_ONLY, NOT_BINARY), (OF_CURRENT, OF_SPIKES), (OF_COUNTS, BINARY_STREAM), ({"TIM"}, {"PSN"}))
    return any({one, other} & a and {one, other} & b for a, b in apart)


def model(**names):
    parts = {
        slot: partial(SpikingJellyNeuron, "LIFNode") if n == "SpikingJellyNeuron" else n for slot, n in names.items()
    }
    built = sf.create_model("spikformer", **TINY, **parts)
    check_model(built)
    return built


def pairs_of(choice):
    return {frozenset(pair) for pair in itertools.combinations(sorted(choice.items()), 2)}


def covering():
    """Choices of a part for each slot that together hold every allowed pair; greedy, the same each time."""
    left = {
        frozenset(((a, one), (b, other)))
        for a, b in itertools.combinations(SLOTS, 2)
        for one, other in itertools.product(PARTS[a], PARTS[b])
        if not refused(one, other)
    }
    while left:
        choice = dict(min(left, key=sorted))
        for slot in sorted(set(SLOTS) - {*choice}):
            allowed = [n for n in PARTS[slot] if not any(refused(n, chosen) for chosen in choice.values())]
            new = {n: sum(frozenset(((slot, n), item)) in left for item in choice.items()) for n in allowed}
            choice[slot] = max(allowed, key=lambda n: new[n])
        left -= pairs_of(choice)
        yield choice


CHOICES = list(covering())


def test_the_choices_hold_every_allowed_pair():
    held = set().union(*map(pairs_of, CHOICES))
    for a, b in itertools.combinations(SLOTS, 2):
        for one, other in itertools.product(PARTS[a], PARTS[b]):
            assert (frozenset(((a, one), (b, other))) in held) != refused(one, other)
    assert len(CHOICES) < 2 * len(PARTS["attention"]) * len(PARTS["neuron"])


@pytest.mark.parametrize("attention", PARTS["attention"])
def test_every_pair_trains(attention):
    x = torch.randn(2, 3, 8, 8)
    for choice in (choice for choice in CHOICES if choice["attention"] == attention):
        built = model(**choice)
        logits = built(x)
        assert logits.shape == (2, 3), choice
        logits.logsumexp(-1).sum().backward()
        for name, parameter in built.named_parameters():
            if parameter.requires_grad:
                assert parameter.grad is not None, (choice, name)
                assert parameter.grad.isfinite().all(), (choice, name)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pair
        for a, b in itertools.combinations(SLOTS, 2)
        for one, other in itertools.product(PARTS[a], PARTS[b])
        if refused(one, other)
        for pair in [((a, one), (b, other))]
    ],
    ids=lambda item: item[1],
)
def test_a_pair_that_does_not_go_together_is_refused(one, other):
    with pytest.raises(
        ValueError, match=r"use a binary neuron|use MembraneShortcut|use SEWShortcut|use another, such as LIF"
    ):
        model(**dict([one, other]))
