"""The vocabulary of what parts say of themselves is one table, which lacks nothing that is said or read."""

import ast
from pathlib import Path

import pytest
from torch import nn

from spikeformers.layers.contracts import COUNTS, CURRENT, DECLARATIONS, SPIKES, declared
from spikeformers.models.parts import find_part, part_names

PACKAGE = Path(__file__).parents[2] / "spikeformers"
PARTS = [*(PACKAGE / "layers").rglob("*.py"), *(PACKAGE / "neurons").rglob("*.py")]
OTHERS = {  # asked of what is not a part of ours
    "node", "v_threshold",  # SpikingJelly's neurons, and the one that ours wraps
    "p",  # Norse's neurons
    "time_steps",  # models of any origin
}  # fmt: skip


def classes():
    for path in PARTS:
        yield from (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ClassDef))


def names(target):
    return [e.id for e in (target.elts if isinstance(target, ast.Tuple) else [target]) if isinstance(e, ast.Name)]


def said():
    """What classes of parts are given in their bodies; a type alone says nothing."""
    for cls in classes():
        if any(ast.unparse(base).split(".")[-1] in ("Protocol", "NamedTuple") for base in cls.bases):
            continue
        for node in cls.body:
            targets = node.targets if isinstance(node, ast.Assign) else []
            if isinstance(node, ast.AnnAssign) and node.value is not None:
                targets = [node.target]
            yield from (name for target in targets for name in names(target) if not name.startswith("_"))


def had():
    """Every attribute that a part has."""
    for cls in classes():
        yield from (node.name for node in cls.body if isinstance(node, ast.FunctionDef))
        for node in ast.walk(cls):
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.ctx, ast.Store)
                and ast.unparse(node.value) == "self"
            ):
                yield node.attr


def asked():
    """Names, in quotes, that code asks objects for."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            called = isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr", "declared")
            if called and len(node.args) > 1 and isinstance(node.args[1], ast.Constant):
                yield node.args[1].value


def test_the_table_lacks_nothing():
    options = {"bias"}  # of a head's linear layers: a number of its own, which nobody asks for
    found = {*said()} - options | {*asked()} & ({*had()} | {*said()}) - OTHERS
    assert {"levels", "causal", "emits", "takes", "folded", "remembers", "step", "mixes", "attn_neuron"} <= found
    assert found <= DECLARATIONS.keys()


def test_the_table_has_nothing_that_no_part_says():
    assert DECLARATIONS.keys() <= {*said(), *had()}


@pytest.mark.parametrize("slot", ["stem", "shortcut"])
def test_what_stands_on_the_stream_says_what_it_emits(slot):
    for name in part_names(slot):
        part = find_part(slot, name)
        assert part.emits in (SPIKES, COUNTS, CURRENT)
        assert {*declared(part, "takes")} <= {SPIKES, COUNTS, CURRENT}


def test_who_says_nothing_gets_the_default():
    assert declared(nn.Identity(), "causal") is True and declared(nn.Identity(), "takes") == (SPIKES, COUNTS, CURRENT)
    with pytest.raises(KeyError):
        declared(nn.Identity(), "no_such_word")
