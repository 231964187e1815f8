"""Finds the products of bytes in a graph, and what can be computed in one pass with each.

Each rule takes the nodes and gives nodes that compute the same; what is then read by nobody is left out. Behind the
rules a graph has two more operations:

`PRODUCT`   args (x, weight, bias, stride, padding, dilation, groups): a convolution of bytes, or with `rows` a linear
            layer. `residual` is added to it.
`ATTENTION` args (q, k, v, scale): scale q (k^T v), all of bytes.

Both may fire a neuron: `neuron` is its number, `steps` its time steps, `fired` the name of the bytes, and `keeps` says
that the current is also read and has to be written.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from torch import Tensor

from spikeformers.deploy.engine.graph import MOVES, NEURON, Node, Ref, alive, without_detours
from spikeformers.ops.spike_product import Neuron

PRODUCT, ATTENTION = "engine.product", "engine.attention"
CONV, LINEAR, MATMUL = "aten.conv2d.default", "aten.linear.default", "aten.matmul.default"
ADD, MUL, POOL = "aten.add.Tensor", "aten.mul.Tensor", "aten.max_pool2d.default"


@dataclass(frozen=True)
class Bytes:
    """A value of whole numbers up to `most`, each worth `unit`."""

    most: int = 1
    unit: float = 1.0


def fused(
    nodes: list[Node], outputs: list[str], constants: dict[str, Tensor], neurons: list[Neuron]
) -> tuple[list[Node], list[str]]:
    """The nodes with products, sums and neurons joined, and the names that the outputs then have."""
    nodes = _with_products(nodes, constants, neurons)
    nodes = alive(_with_attention(nodes, neurons, outputs), outputs)
    nodes = alive(_with_residuals(nodes, neurons, outputs), outputs)
    nodes, names = _with_neurons(nodes, outputs)
    outputs = [names.get(name, name) for name in outputs]
    return without_detours(nodes, outputs), outputs


def kinds_of(nodes: list[Node], neurons: list[Neuron]) -> dict[str, Bytes | None]:
    """Which values are bytes, by where they come from; None for numbers of any other kind."""
    kinds: dict[str, Bytes | None] = {}
    for node in nodes:
        given = [kinds.get(arg.name) if isinstance(arg, Ref) else None for arg in node.args]
        kinds[node.name] = None
        if node.op == NEURON:
            kinds[node.name] = _fired(neurons[node.args[1]])
        elif "fired" in node.kwargs:
            kinds[node.kwargs["fired"]] = _fired(neurons[node.kwargs["neuron"]])
        elif node.op in MOVES or (node.op == POOL and not node.kwargs):
            kinds[node.name] = given[0]
        elif node.op in (ADD, MUL) and not node.kwargs and len(given) == 2 and given[0] and given[1]:
            kinds[node.name] = _together(node.op, given[0], given[1])
    return kinds


def _fired(neuron: Neuron) -> Bytes:
    return Bytes(neuron.top, neuron.unit)


def _together(op: str, one: Bytes, other: Bytes) -> Bytes | None:
    if op == MUL:
        both = Bytes(one.most * other.most, one.unit * other.unit)
    elif one.unit == other.unit:
        both = Bytes(one.most + other.most, one.unit)
    else:
        return None
    return both if both.most < 256 else None


# ---- rules


def _with_products(nodes: list[Node], constants: dict[str, Tensor], neurons: list[Neuron]) -> list[Node]:
    """Convolutions and linear layers of bytes, with weights that are constants, become products."""
    kinds = kinds_of(nodes, neurons)
    made = []
    for node in nodes:
        x, weight, bias, *rest = (*node.args, None, None, None)
        if (
            node.op in (CONV, LINEAR)
            and kinds.get(x.name)
            and not node.kwargs
            and isinstance(weight, Ref)
            and weight.name in constants
            and (bias is None or bias.name in constants)
            and len(node.shape) >= (4 if node.op == CONV else 2)
            and not any(isinstance(arg, str) for arg in rest)  # padding by a word
        ):
            stride, padding, dilation, groups = ((rest if node.op == CONV else []) + [None] * 4)[:4]
            args = (x, weight, bias, pair(stride, 1), pair(padding, 0), pair(dilation, 1), groups or 1)
            node = replace(node, op=PRODUCT, args=args, kwargs={"rows": True} if node.op == LINEAR else {})
        made.append(node)
    return made


def _with_attention(nodes: list[Node], neurons: list[Neuron], outputs: list[str]) -> list[Node]:
    """`q (k^T v)` and `(q k^T) v` of bytes, times a number or not, become one operation."""
    kinds, users = kinds_of(nodes, neurons), _users(nodes, outputs)
    by_name: dict[str, Node] = {}
    made = []
    for node in nodes:
        if node.op == MATMUL and (operands := _operands(node, by_name, users)) is not None:
            q, k, v = (by_name[ref.name].shape for ref in operands)
            alike = len(q) == 5 and q == k and v[:4] == q[:4]  # not where heads share keys, as SEMM's experts do
            if alike and all(kinds.get(ref.name) for ref in operands):
                node = replace(node, op=ATTENTION, args=(*operands, 1.0))
        elif node.op == MUL and isinstance(node.args[0], Ref) and isinstance(node.args[1], (int, float)):
            product = by_name.get(node.args[0].name)
            if product is not None and product.op == ATTENTION and users[product.name] == 1:
                scale = product.args[3] * node.args[1]
                node = replace(node, op=ATTENTION, args=(*product.args[:3], scale))
        by_name[node.name] = node
        made.append(node)
    return made


def _operands(outer: Node, by_name: dict[str, Node], users: Counter[str]) -> tuple[Ref, Ref, Ref] | None:
    """q, k and v of the outer of two products, each a node's value and not a parameter."""
    left, right = outer.args
    for inner_ref, order in ((right, "q(kv)"), (left, "(qk)v")):
        inner = by_name.get(inner_ref.name)
        if inner is None or inner.op != MATMUL or users[inner.name] > 1:
            continue
        q, turned, v = (left, *inner.args) if order == "q(kv)" else (*inner.args, right)
        turn = by_name.get(turned.name)
        if turn is not None and turn.op == "aten.transpose.int" and {a % 5 for a in turn.args[1:]} == {3, 4}:
            operands = q, turn.args[0], v
            return operands if all(ref.name in by_name for ref in operands) else None
    return None


def _with_residuals(nodes: list[Node], neurons: list[Neuron], outputs: list[str]) -> list[Node]:
    """A current `[T, B, ...]` and a product of the same shape become a product that adds the current."""
    kinds, users = kinds_of(nodes, neurons), _users(nodes, outputs)
    by_name = {node.name: node for node in nodes}
    made = []
    for node in nodes:
        if node.op == ADD and not node.kwargs and all(isinstance(arg, Ref) for arg in node.args):
            for term, other in (node.args[::-1], node.args):
                product = _product_split_in_time(term.name, by_name, users)
                alike = all(ref.name in by_name and by_name[ref.name].shape == node.shape for ref in (term, other))
                if product is not None and alike and not kinds[other.name]:
                    node = replace(product, name=node.name, kwargs={"residual": other}, shape=node.shape)
                    break
        made.append(node)
    return made


def _product_split_in_time(name: str, by_name: dict[str, Node], users: Counter[str]) -> Node | None:
    """The convolution whose value a node only splits into `[T, B, ...]`."""
    split = by_name.get(name)
    if split is None or split.op != "aten.unflatten.int" or split.args[1] != 0 or users[name] > 1:
        return None
    product = by_name.get(split.args[0].name)
    if product is None or product.op != PRODUCT or product.kwargs or users[product.name] > 1:
        return None
    return product


def _with_neurons(nodes: list[Node], outputs: list[str]) -> tuple[list[Node], dict[str, str]]:
    """A neuron after a product or an attention is fired by it, ahead of the moves between, which then move bytes.

    Also gives the names under which the bytes are found where the neuron is gone.
    """
    users = _users(nodes, outputs)
    by_name = {node.name: node for node in nodes}
    names: dict[str, str] = {}
    for neuron in nodes:
        if neuron.op != NEURON:
            continue
        path = [neuron]
        while isinstance(path[-1].args[0], Ref) and (before := by_name.get(path[-1].args[0].name)) is not None:
            path.append(before)
            if before.op not in MOVES or users[before.name] > 1:
                break
        host, direct = path[-1], len(path) == 2
        if host.op not in (PRODUCT, ATTENTION) or "fired" in host.kwargs or not _time_stays_first(path[::-1]):
            continue
        keeps = users[host.name] > 1
        if keeps and not direct:
            continue
        if direct:
            fired = names[neuron.name] = f"{neuron.name}_fired"
        else:
            fired, names[neuron.name] = host.name, neuron.args[0].name
        kwargs = host.kwargs | {"neuron": neuron.args[1], "steps": neuron.shape[0], "fired": fired, "keeps": keeps}
        by_name[host.name] = replace(host, kwargs=kwargs)
    kept = [by_name[node.name] for node in nodes if node.name not in names]
    return [node.renamed(names) for node in kept], names


def _time_stays_first(path: list[Node]) -> bool:
    """Whether all values have the neuron's time as the slowest axis, so that it can fire ahead of the moves."""
    steps = path[-1].shape[0] if path[-1].shape else None
    if not isinstance(steps, int):
        return False
    for before, node in pairwise(path[:-1]):
        old, new = before.shape, node.shape
        if node.op == "aten.unflatten.int" and node.args[1] == 0 and new[0] == steps and new[2:] == old[1:]:
            continue  # [T B, ...] -> [T, B, ...]
        if node.op not in _WITHIN_STEPS or old[0] != steps or new[0] != steps:
            return False
        if node.op == "aten.transpose.int" and 0 in {axis % len(old) for axis in node.args[1:]}:
            return False
    host = path[0]
    return len(path) > 2 or host.shape[0] == steps


# Moves that keep a first axis of steps where it is, if they keep its length.
_WITHIN_STEPS = {
    "aten.flatten.using_ints", "aten.unflatten.int", "aten.view.default", "aten.reshape.default",
    "aten._unsafe_view.default", "aten.transpose.int", "aten.clone.default", "aten.contiguous.default",
    "aten.alias.default",
}  # fmt: skip


def _users(nodes: list[Node], outputs: list[str]) -> Counter[str]:
    users = Counter(name for node in nodes for name in node.reads)
    users.update(outputs)
    return users


def pair(value: Any, otherwise: int) -> tuple[int, int]:
    """Both numbers of an argument that may be one number, a list, or left out."""
    pair = value if isinstance(value, (list, tuple)) else [otherwise if value is None else value]
    return pair[0], pair[-1]
