"""The graph that an engine runs: nodes of torch's operations that can be written to JSON and read again."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import fx
from torch._ops import OpOverload

NEURON = "spikeformers.traced_neuron.default"


@dataclass(frozen=True)
class Ref:
    """The value of another node."""

    name: str


@dataclass(frozen=True)
class Node:
    """One operation. `shape` is that of its value if it is a tensor; an axis that grows with the batch is text."""

    name: str
    op: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    shape: tuple[int | str, ...]

    @property
    def reads(self) -> list[str]:
        return [ref.name for ref in _refs((self.args, self.kwargs))]

    @property
    def writes(self) -> list[str]:
        """Names of its value, or of the bytes of a neuron fused after it, and the current if it is kept."""
        if "fired" not in self.kwargs:
            return [self.name]
        return [self.kwargs["fired"], *([self.name] if self.kwargs["keeps"] else [])]

    def renamed(self, names: dict[str, str]) -> Node:
        """The same, reading other values."""
        return replace(self, args=_renamed(self.args, names), kwargs=_renamed(self.kwargs, names))


def nodes_of(graph: fx.Graph) -> tuple[list[Node], str, list[str]]:
    """The operations of an exported graph, the name of its input and those of its outputs."""
    found, inputs, outputs = [], [], []
    for node in graph.nodes:
        if node.op == "placeholder":
            inputs.append(node.name)
        elif node.op == "output":
            outputs = [value.name for value in node.args[0]]
        else:
            value = node.meta.get("val")
            shape = tuple(map(_axis, value.shape)) if isinstance(value, torch.Tensor) else ()
            args, kwargs = _plain(node.args), _plain(dict(node.kwargs))
            found.append(Node(node.name, str(node.target), args, kwargs, shape))
    return without_detours(found, outputs), inputs[-1], outputs


def function_of(op: str) -> Callable[..., Any]:
    """What computes an operation: an operator of torch or Python's arithmetic, nothing else. Raises ValueError.

    Operators that take the name of a file are refused too: they read or write it wherever an engine's file says.
    """
    if op == "<built-in function getitem>":
        return operator.getitem
    if op.startswith("<built-in function "):
        name = op.removeprefix("<built-in function ").removesuffix(">")
        if name in ("add", "sub", "mul", "floordiv", "mod", "neg", "eq", "ne", "lt", "le", "gt", "ge"):
            return getattr(operator, name)
    space, _, rest = op.partition(".")
    name, _, overload = rest.partition(".")
    try:
        found = getattr(getattr(getattr(torch.ops, space), name), overload)
    except (AttributeError, RuntimeError):
        found = None
    if not isinstance(found, OpOverload):  # torch.ops also has methods, which import modules and load libraries
        raise ValueError(f"torch has no operation {op!r}: import the package that has it, or make the engine again")
    if any(argument.name == "filename" for argument in found._schema.arguments):
        raise ValueError(f"the operation {op!r} reads or writes files, which an engine does not: make the engine again")
    return found


def without_detours(nodes: list[Node], outputs: list[str]) -> list[Node]:
    """Leaves out reshapes that end in the shape they began with, such as time merged and split again."""
    by_name = {node.name: node for node in nodes}
    stands_for: dict[str, str] = {}
    kept = []
    for node in nodes:
        node = node.renamed(stands_for)
        by_name[node.name] = node
        source = node
        while source.op in RESHAPES and isinstance(source.args[0], Ref) and source.args[0].name in by_name:
            source = by_name[source.args[0].name]
            if source.shape == node.shape and node.name not in outputs:
                stands_for[node.name] = source.name
                break
        else:
            kept.append(node)
    return alive(kept, outputs)


def alive(nodes: list[Node], outputs: list[str]) -> list[Node]:
    """The nodes whose values the outputs need."""
    read, found = set(outputs), []
    for node in reversed(nodes):
        if read.intersection(node.writes):
            found.append(node)
            read.update(node.reads)
    return found[::-1]


# Rows stay in order: the same numbers under another shape.
RESHAPES = {
    "aten.flatten.using_ints", "aten.unflatten.int", "aten.view.default", "aten.reshape.default",
    "aten._unsafe_view.default", "aten.unsqueeze.default", "aten.squeeze.dim",
}  # fmt: skip
# Numbers are moved or picked, none is computed.
MOVES = RESHAPES | {
    "aten.transpose.int", "aten.permute.default", "aten.slice.Tensor", "aten.select.int", "aten.expand.default",
    "aten.chunk.default", "aten.split.Tensor", "aten.clone.default", "aten.contiguous.default", "aten.alias.default",
    "<built-in function getitem>",
}  # fmt: skip


# Arguments that stand in a file by the name that torch has them under.
_NAMED = {"dtype": torch.dtype, "layout": torch.layout, "memory_format": torch.memory_format}


def encode(value: Any) -> Any:
    """An argument as JSON has it."""
    if isinstance(value, Ref):
        return {"ref": value.name}
    if isinstance(value, (tuple, list)):
        return [encode(item) for item in value]
    if isinstance(value, dict):
        return {"kwargs": {key: encode(item) for key, item in value.items()}}
    for kind, its_type in _NAMED.items():
        if isinstance(value, its_type):
            return {kind: str(value).removeprefix("torch.")}
    if value == torch.device("cpu"):
        return {"device": "cpu"}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise ValueError(f"an engine cannot be saved: an operation was given {value!r}")


def decode(value: Any) -> Any:
    """The argument that `encode` wrote."""
    if isinstance(value, list):
        return [decode(item) for item in value]
    if isinstance(value, dict):
        if "ref" in value:
            return Ref(value["ref"])
        for kind, its_type in _NAMED.items():
            if kind in value:
                found = getattr(torch, value[kind])
                if not isinstance(found, its_type):  # a file may name anything else that torch has
                    raise TypeError(f"{value[kind]} is no {kind}")
                return found
        if "device" in value:
            return torch.device("cpu")
        return {key: decode(item) for key, item in value["kwargs"].items()}
    return value


def fill(value: Any, values: dict[str, Any]) -> Any:
    """An argument with the values that its references name."""
    if isinstance(value, Ref):
        return values[value.name]
    if isinstance(value, (list, tuple)):
        return [fill(item, values) for item in value]
    return value


def _refs(value: Any) -> list[Ref]:
    if isinstance(value, Ref):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [ref for item in value for ref in _refs(item)] if isinstance(value, (list, tuple)) else []


def _plain(value: Any) -> Any:
    if isinstance(value, fx.Node):
        return Ref(value.name)
    if isinstance(value, (list, tuple)):
        return type(value)(map(_plain, value)) if type(value) in (list, tuple) else [_plain(item) for item in value]
    return {key: _plain(item) for key, item in value.items()} if isinstance(value, dict) else value


def _renamed(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, Ref):
        return Ref(names.get(value.name, value.name))
    if isinstance(value, (list, tuple)):
        return type(value)(_renamed(item, names) for item in value)
    return {key: _renamed(item, names) for key, item in value.items()} if isinstance(value, dict) else value


def _axis(size: Any) -> int | str:
    return size if isinstance(size, int) else str(size)
