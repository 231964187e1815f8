"""What an engine runs for each node of a fused graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from spikeformers.deploy.engine.fuse import ADD, ATTENTION, CONV, LINEAR, MUL, POOL, PRODUCT, Bytes, kinds_of, pair
from spikeformers.deploy.engine.graph import MOVES, NEURON, Node, Ref, fill, function_of
from spikeformers.ops.spike_product import Neuron, Window
from spikeformers.ops.spike_product.product import SpikeProduct, attention, fire, max_pool

SPARSE, DENSE, TORCH = "sparse", "dense", "torch"

Values = dict[str, Any]
Run = Callable[[Values], None]


@dataclass
class Step:
    """One call. It puts the values of `writes` where later steps read them, and `frees` what none of them reads."""

    name: str
    what: str
    reads: list[str]
    writes: list[str]
    ways: dict[str, Run]
    way: str
    density: float | None = None
    frees: list[str] = field(default_factory=list)


def make_steps(
    nodes: list[Node], constants: dict[str, Tensor], neurons: list[Neuron], outputs: list[str], dtype: torch.dtype
) -> tuple[list[Step], dict[str, Bytes | None]]:
    """The steps of a fused graph, sparse wherever there is a kernel, and what kind each value is."""
    planner = _Planner(constants, neurons, kinds_of(nodes, neurons), dtype)
    steps = [planner.step(node) for node in nodes]
    last = {name: step for step in steps for name in (*step.reads, *step.writes)}
    for name, step in last.items():
        if name not in outputs and name not in constants:
            step.frees.append(name)
    return steps, planner.kinds


@dataclass
class _Planner:
    constants: dict[str, Tensor]
    neurons: list[Neuron]
    kinds: dict[str, Bytes | None]
    dtype: torch.dtype

    def step(self, node: Node) -> Step:
        what, ways = self._ways(node)
        return Step(_title(node), what, node.reads, node.writes, ways, next(iter(ways)))

    def _ways(self, node: Node) -> tuple[str, dict[str, Run]]:
        if node.op == PRODUCT:
            return "product", self._product(node)
        if node.op == ATTENTION:
            return "attention", {SPARSE: self._attention(node)}
        if node.op == NEURON:
            return "neuron", {SPARSE: self._neuron(node)}
        if node.op in MOVES and isinstance(node.args[0], Ref):
            return "move", {TORCH: _plain(node, _that_may_copy(node.op))}
        if self.kinds[node.name] and node.op == POOL:
            return "pool", {SPARSE: _pool(node)}
        if self.kinds[node.name] and node.op in (ADD, MUL):
            return "sum" if node.op == ADD else "mask", {TORCH: _plain(node, node.op)}
        return node.op.split(".")[1] if "." in node.op else node.op, {TORCH: self._torch(node)}

    def _product(self, node: Node) -> dict[str, Run]:
        x, weight, bias, stride, padding, dilation, groups = node.args
        kind = self.kinds[x.name] or Bytes()
        rows, source, counts = node.kwargs.get("rows", False), x.name, kind.most > 1
        kernel = self.constants[weight.name]
        product = SpikeProduct(
            kernel[..., None, None] if rows else kernel,
            None if bias is None else self.constants[bias.name],
            stride, padding, dilation, groups, self.dtype, kind.unit,
        )  # fmt: skip
        neuron, fired, keeps = self._fires(node)
        steps = node.kwargs.get("steps", 1)  # without a neuron any number is as good
        split = "residual" in node.kwargs  # then all values are [T, B, ...]
        time: Any = node.shape[0]
        residual = self._as_float(node.kwargs["residual"].name) if split else None

        def run(values: Values, sparse: bool) -> None:
            given = values[source]
            flat = given.reshape(-1, given.shape[-1])[..., None, None] if rows else given
            added = residual(values).flatten(0, 1) if residual else None
            if sparse:
                made = product(flat, steps, neuron, added, counts=counts, current=keeps)
            else:
                made = product.dense(flat, steps, neuron, added, current=keeps)
            for name, y in zip((fired, node.name), made, strict=True):
                if y is not None:
                    if rows:
                        y = y.view(*given.shape[:-1], y.shape[1])
                    values[name] = y.unflatten(0, (time, -1)) if split else y

        ways: dict[str, Run] = {SPARSE: lambda values: run(values, True)} if product.sparse else {}
        return ways | {DENSE: lambda values: run(values, False)}

    def _fires(self, node: Node) -> tuple[Neuron | None, str, bool]:
        """The neuron that a step fires, the name of its bytes, and whether the current is written."""
        if "fired" not in node.kwargs:
            return None, "", True
        return self.neurons[node.kwargs["neuron"]], node.kwargs["fired"], node.kwargs["keeps"]

    def _attention(self, node: Node) -> Run:
        *operands, scale = node.args
        q, k, v = (ref.name for ref in operands)
        kinds = [self.kinds[name] or Bytes() for name in (q, k, v)]
        top = max(kind.most for kind in kinds)
        for kind in kinds:
            scale *= kind.unit
        neuron, fired, keeps = self._fires(node)

        def run(values: Values) -> None:
            if neuron and not keeps:
                values[fired] = attention(values[q], values[k], values[v], scale, neuron, top=top)
                return
            flow = values[node.name] = attention(values[q], values[k], values[v], scale, top=top)
            if neuron:
                values[fired] = fire(flow, neuron)

        return run

    def _neuron(self, node: Node) -> Run:
        read, neuron = self._as_float(node.args[0].name), self.neurons[node.args[1]]

        def run(values: Values) -> None:
            values[node.name] = fire(read(values), neuron)

        return run

    def _torch(self, node: Node) -> Run:
        function = function_of(node.op)
        read = {name: self._as_float(name) for name in node.reads}

        def run(values: Values) -> None:
            given = {name: get(values) for name, get in read.items()}
            values[node.name] = function(*fill(node.args, given), **{k: fill(v, given) for k, v in node.kwargs.items()})

        return run

    def _as_float(self, name: str) -> Callable[[Values], Any]:
        """Reads a value as torch would have it."""
        kind = self.kinds.get(name)
        if kind is None:
            return lambda values: values[name]
        if kind.unit == 1:
            return lambda values: values[name].float()
        return lambda values: values[name].float() * kind.unit


def _plain(node: Node, op: str) -> Run:
    """Runs a node on its values as they are: bytes stay bytes."""
    function, name, source, rest = function_of(op), node.name, node.args[0].name, node.args[1:]
    if len(node.reads) == 1 and not node.kwargs:

        def run(values: Values) -> None:
            values[name] = function(values[source], *rest)

    else:

        def run(values: Values) -> None:
            values[name] = function(*fill(node.args, values), **node.kwargs)

    return run


def _that_may_copy(op: str) -> str:
    """A view's own operation refuses what is not laid out for it; this one copies then."""
    return "aten.reshape.default" if op in ("aten.view.default", "aten._unsafe_view.default") else op


def _pool(node: Node) -> Run:
    x: Any
    x, kernel, stride, padding, dilation = (*node.args, None, None, None)[:5]
    window = Window(pair(kernel, 1), pair(stride or kernel, 1), pair(padding, 0), pair(dilation, 1))
    source, shape = x.name, (int(node.shape[-2]), int(node.shape[-1]))

    def run(values: Values) -> None:
        values[node.name] = max_pool(values[source], window, shape)

    return run


def _title(node: Node) -> str:
    weight = node.args[1] if node.op in (PRODUCT, CONV, LINEAR) else None
    if isinstance(weight, Ref):
        return weight.name.removeprefix("p_model_").removesuffix("_weight").removesuffix("_conv")
    return node.name
