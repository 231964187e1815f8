"""What an engine does for each node of a graph: which values are bytes, which products and neurons are one, and how."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from spikeformers.deploy.engine.graph import MOVES, NEURON, Node, Ref, fill, function_of
from spikeformers.ops.spike_product import Neuron, SpikeProduct, attention, fire, max_pool

CONV, LINEAR, MATMUL = "aten.conv2d.default", "aten.linear.default", "aten.matmul.default"
ADD, MUL, POOL = "aten.add.Tensor", "aten.mul.Tensor", "aten.max_pool2d.default"
SPARSE, DENSE, TORCH = "sparse", "dense", "torch"


@dataclass(frozen=True)
class Bytes:
    """A value of whole numbers up to `most`, each worth `unit`."""

    most: int = 1
    unit: float = 1.0


Run = Callable[[dict[str, Any]], None]


@dataclass
class Step:
    """One call. It puts the values of `writes` where later steps read them."""

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
    """The steps of a graph, sparse wherever there is a kernel, and what kind each value is."""
    planner = _Planner(nodes, constants, neurons, outputs, dtype)
    for node in nodes:
        planner.add(node)
    last = {name: number for number, step in enumerate(planner.steps) for name in (*step.reads, *step.writes)}
    for name, number in last.items():
        if name not in outputs and name not in constants:
            planner.steps[number].frees.append(name)
    return planner.steps, planner.kinds


def natural_kinds(nodes: list[Node], neurons: list[Neuron]) -> dict[str, Bytes | None]:
    """Which values are whole numbers in bytes, by where they come from; None for currents."""
    kinds: dict[str, Bytes | None] = {}
    for node in nodes:
        given = [kinds.get(arg.name) if isinstance(arg, Ref) else None for arg in node.args]
        if node.op == NEURON:
            neuron = neurons[node.args[1]]
            kinds[node.name] = Bytes(neuron.top, neuron.unit)
        elif node.op in MOVES or node.op == POOL:
            kinds[node.name] = given[0]
        elif node.op in (ADD, MUL) and len(given) == 2 and given[0] and given[1] and not node.kwargs:
            kinds[node.name] = _together(node.op, *given)
    return kinds


def _together(op: str, one: Bytes, other: Bytes) -> Bytes | None:
    if op == MUL:
        made = Bytes(one.most * other.most, one.unit * other.unit)
    else:
        made = Bytes(one.most + other.most, one.unit) if one.unit == other.unit else None
    return made if made is not None and made.most < 256 else None


class _Planner:
    def __init__(
        self,
        nodes: list[Node],
        constants: dict[str, Tensor],
        neurons: list[Neuron],
        outputs: list[str],
        dtype: torch.dtype,
    ):
        self.nodes, self.constants, self.neurons, self.dtype = {n.name: n for n in nodes}, constants, neurons, dtype
        self.users = Counter(name for node in nodes for name in node.reads)
        self.users.update(outputs)
        self.natural = natural_kinds(nodes, neurons)
        self.kinds: dict[str, Bytes | None] = {}  # as the steps have them: behind a fused neuron all is bytes
        self.steps: list[Step] = []
        self.fused: dict[str, list[str]] = {}  # by the node where a fused step is run: the neuron and what lies between
        self.gone: set[str] = set()  # nodes that a fused step computes
        self.behind: dict[str, tuple[Node, Neuron]] = {}  # the neuron that a step fires itself, by the step's node
        for node in nodes:
            if node.op == NEURON:
                self._look_ahead_of(node)

    def _look_ahead_of(self, node: Node) -> None:
        """Finds the product that a neuron can be fused with."""
        source, between = self._source(node.args[0].name)
        if source is None or node.shape is None or not _time_stays_first([source, *between, node]):
            return
        if source.op in (CONV, LINEAR, MUL, MATMUL) and (self.users[source.name] > 1 or source.name in self.behind):
            return
        if source.op in (CONV, LINEAR, MUL, MATMUL, ADD) and source.name not in self.behind:
            if source.op == ADD and between:
                return
            self.behind[source.name] = (node, self.neurons[node.args[1]])

    def _source(self, name: str) -> tuple[Node | None, list[Node]]:
        """The node that computes what a value holds, and the moves between, each read once."""
        between: list[Node] = []
        node = self.nodes.get(name)
        while node is not None and node.op in MOVES and self.users[node.name] == 1 and isinstance(node.args[0], Ref):
            between.insert(0, node)
            node = self.nodes.get(node.args[0].name)
        return node, between

    def kind(self, value: Any) -> Bytes | None:
        return self.kinds.get(value.name) if isinstance(value, Ref) else None

    def add(self, node: Node) -> None:
        """Decides on a node: a step, or nothing where another step does its work."""
        if node.name in self.gone:
            return
        made = (
            (node.op == NEURON and self._neuron(node))
            or (node.op in (CONV, LINEAR) and self._product(node))
            or (node.op == ADD and self._sum(node))
            or (node.op == MUL and self._scaled(node))
            or (node.op == MATMUL and self._attention(node, node, 1.0))
            or (node.op == POOL and self._pool(node))
            or (node.op in MOVES and self._move(node))
        )
        if not made:
            self._torch(node)

    # ---- kinds of steps

    def _neuron(self, node: Node) -> bool:
        neuron = self.neurons[node.args[1]]
        self.kinds[node.name] = Bytes(neuron.top, neuron.unit)
        given = node.args[0].name
        if self.kinds.get(given) is not None:
            if self.fused.get(given) == [node.name]:  # the bytes were fired, and moved here
                self._step(node, "neuron", [given], {TORCH: _same(given, node.name)})
                return True
            read = self._as_float(given)
        else:
            read = _get(given)

        def run(values: dict[str, Any]) -> None:
            values[node.name] = fire(read(values), neuron)

        self._step(node, "neuron", [given], {SPARSE: run})
        return True

    def _fires(self, node: Node) -> Neuron | None:
        """The neuron that a step for `node` fires; the values from here to there are then its bytes."""
        return self.behind[node.name][1] if node.name in self.behind else None

    def _mark_fired(self, node: Node) -> None:
        """Has the moves between a fused step and its neuron move the bytes."""
        neuron_node, neuron = self.behind[node.name]
        self.kinds[node.name] = Bytes(neuron.top, neuron.unit)
        self.fused[node.name] = [neuron_node.name]

    def _product(self, node: Node) -> bool:
        kind = self.kind(node.args[0])
        if kind is None or self._joins_a_sum(node):
            return kind is not None
        product = self._spike_product(node, kind)
        if product is None:
            return False
        neuron = self._fires(node)
        source, counts = node.args[0].name, kind.most > 1
        linear, time = node.op == LINEAR, self._time_of(node)
        if linear and (neuron is not None or len(node.shape or ()) < 3):
            return False

        def sparse(values: dict[str, Any]) -> None:
            x = values[source]
            flat = _rows(x) if linear else x
            spikes, current = product(flat, time, neuron, counts=counts)
            y = spikes if neuron else current
            values[node.name] = y.flatten(1).unflatten(0, x.shape[:-1]) if linear else y  # pyright: ignore[reportOptionalMemberAccess]

        dense = self._dense(node, product, kind, neuron, time)
        self._step(node, "product", [source], {SPARSE: sparse, DENSE: dense} if product.sparse else {DENSE: dense})
        if neuron:
            self._mark_fired(node)
        return True

    def _dense(self, node: Node, product: SpikeProduct, kind: Bytes, neuron: Neuron | None, time: int) -> Run:
        source, linear = node.args[0].name, node.op == LINEAR
        weight = (product.effective * kind.unit).contiguous(memory_format=torch.channels_last)
        settings = (product.stride, product.padding, product.dilation, product.groups)

        def run(values: dict[str, Any]) -> None:
            x = values[source].to(torch.float32)
            if linear:
                y = torch.nn.functional.linear(x, weight[:, :, 0, 0], product.bias)
            else:
                y = torch.conv2d(x, weight, product.bias, *settings)
            if neuron:
                y = fire(y.unflatten(0, (time, -1)), neuron).flatten(0, 1)
            values[node.name] = y

        return run

    def _joins_a_sum(self, node: Node) -> bool:
        """Whether the sum that reads a product adds its other term in the same step."""
        return node.name in self.gone or any(node.name in names for names in self._sums().values())

    def _sums(self) -> dict[str, list[str]]:
        if not hasattr(self, "_found_sums"):
            self._found_sums: dict[str, list[str]] = {}
            for node in self.nodes.values():
                if node.op == ADD and (found := self._term(node)) is not None:
                    product, between, _ = found
                    self._found_sums[node.name] = [product.name, *(move.name for move in between)]
        return self._found_sums

    def _term(self, node: Node) -> tuple[Node, list[Node], Ref] | None:
        """Of `current + product(bytes)` the product, the moves behind it, and the other term."""
        if node.kwargs or len(node.args) != 2 or not all(isinstance(arg, Ref) for arg in node.args):
            return None
        for term, other in (node.args[::-1], node.args):
            source, between = self._source(term.name)
            if (
                source is not None
                and source.op == CONV
                and self.users[source.name] == 1
                and [move.op for move in between] == ["aten.unflatten.int"]
                and between[0].args[1] == 0
                and self.nodes.get(other.name) is not None
                and self.nodes[other.name].shape == node.shape
                and self.natural.get(source.args[0].name) is not None
                and self.natural.get(other.name) is None
            ):
                return source, between, other
        return None

    def _sum(self, node: Node) -> bool:
        one, other = (self.kind(arg) for arg in node.args[:2])
        if one is not None and other is not None and not node.kwargs:
            if (both := _together(ADD, one, other)) is None:
                return False
            self.kinds[node.name] = both
            names = [arg.name for arg in node.args]

            def add(values: dict[str, Any]) -> None:
                values[node.name] = values[names[0]] + values[names[1]]

            self._step(node, "sum", names, {TORCH: add})
            return True
        found = self._term(node) if node.name in self._sums() else None
        if found is None:
            return False
        product_node, _, rest = found
        kind = self.kind(product_node.args[0])
        product = self._spike_product(product_node, kind) if kind is not None else None
        if kind is None or product is None:
            raise RuntimeError(f"{product_node.name} was taken for a product of bytes")
        neuron_node, neuron = self.behind.get(node.name, (None, None))
        source, counts, time = product_node.args[0].name, kind.most > 1, int(node.shape[0])  # pyright: ignore[reportOptionalSubscript, reportArgumentType]
        wanted = neuron is None or self.users[node.name] > 1
        residual = self._as_float(rest.name)
        weight = (product.effective * kind.unit).contiguous(memory_format=torch.channels_last)
        settings = (product.stride, product.padding, product.dilation, product.groups)
        fired = neuron_node.name if neuron_node is not None else ""

        def sparse(values: dict[str, Any]) -> None:
            flat = residual(values).flatten(0, 1)
            spikes, current = product(values[source], time, neuron, flat, counts=counts, current=wanted)
            if neuron:
                values[fired] = spikes.unflatten(0, (time, -1))  # pyright: ignore[reportOptionalMemberAccess]
            if wanted:
                values[node.name] = current.unflatten(0, (time, -1))  # pyright: ignore[reportOptionalMemberAccess]

        def dense(values: dict[str, Any]) -> None:
            y = torch.conv2d(values[source].to(torch.float32), weight, product.bias, *settings)
            y = y.unflatten(0, (time, -1)) + residual(values)
            if neuron:
                values[fired] = fire(y, neuron)
            if wanted:
                values[node.name] = y

        ways = {SPARSE: sparse, DENSE: dense} if product.sparse else {DENSE: dense}
        step = self._step(node, "product", [source, rest.name], ways, _title(product_node))
        if neuron_node is not None and neuron is not None:
            self.kinds[fired] = Bytes(neuron.top, neuron.unit)
            self.gone.add(fired)
            step.writes.append(fired)
        return True

    def _scaled(self, node: Node) -> bool:
        first, second = node.args[:2]
        if isinstance(first, Ref) and isinstance(second, Ref):
            one, other = self.kind(first), self.kind(second)
            both = _together(MUL, one, other) if one and other else None
            if both is None:
                return False
            self.kinds[node.name] = both

            def mask(values: dict[str, Any]) -> None:
                values[node.name] = values[first.name] * values[second.name]

            self._step(node, "mask", [first.name, second.name], {TORCH: mask})
            return True
        if not isinstance(first, Ref) or not isinstance(second, (int, float)):
            return False
        source = self.nodes.get(first.name)
        if source is not None and source.op == MATMUL and source.name in self.gone:
            return self._attention(node, source, float(second))
        return False

    def _attention(self, node: Node, product: Node, scale: float) -> bool:
        """`scale q (k^T v)` in either order of its two products, all of bytes."""
        if node is product and self._will_be_scaled(node):
            found = self._operands(product)
            if found is not None:
                self.gone.add(product.name)
                return True
        found = self._operands(product)
        if found is None:
            return self._first_of_two(node)
        q, k, v = found
        kinds = [self.kinds[name] for name in (q, k, v)]
        top, neuron = max(kind.most for kind in kinds if kind), self._fires(node)
        for kind in kinds:
            scale *= kind.unit if kind else 1.0

        def run(values: dict[str, Any]) -> None:
            one, two, three = values[q], values[k], values[v]
            y = attention(one, two, three, scale, neuron, top=top)
            if y is None:
                one, two, three = (x.to(torch.float32) for x in (one, two, three))
                y = one @ (two.transpose(-2, -1) @ three) * scale
                y = fire(y, neuron) if neuron else y
            values[node.name] = y

        self._step(node, "attention", [q, k, v], {SPARSE: run})
        if neuron:
            self._mark_fired(node)
        return True

    def _first_of_two(self, node: Node) -> bool:
        """Whether this is the inner of an attention's products, which the outer one computes."""
        reader = next((n for n in self.nodes.values() if n.op == MATMUL and node.name in n.reads), None)
        if reader is None or self.users[node.name] != 1 or self._operands(reader) is None:
            return False
        self.gone.add(node.name)
        return True

    def _operands(self, outer: Node) -> tuple[str, str, str] | None:
        """Names of q, k and v `[T, B, M, N, D]`, all bytes, in `q (k^T v)` or `(q k^T) v`."""
        left, right = (self.nodes.get(arg.name) for arg in outer.args)
        if right is not None and right.op == MATMUL and self.users[right.name] == 1:
            q, kt, v = outer.args[0].name, self._untransposed(right.args[0].name), right.args[1].name
        elif left is not None and left.op == MATMUL and self.users[left.name] == 1:
            q, kt, v = left.args[0].name, self._untransposed(left.args[1].name), outer.args[1].name
        else:
            return None
        if kt is None or any(self.kinds.get(name) is None or len(self.nodes[name].shape or ()) != 5 for name in (q, kt, v)):
            return None
        return q, kt, v

    def _untransposed(self, name: str) -> str | None:
        node = self.nodes.get(name)
        if node is None or node.op != "aten.transpose.int" or len(node.shape or ()) != 5:
            return None
        axes = {axis % 5 for axis in node.args[1:]}
        return node.args[0].name if axes == {3, 4} else None

    def _will_be_scaled(self, node: Node) -> bool:
        reader = next((n for n in self.nodes.values() if node.name in n.reads), None)
        return (
            reader is not None
            and self.users[node.name] == 1
            and reader.op == MUL
            and isinstance(reader.args[1], (int, float))
        )

    def _pool(self, node: Node) -> bool:
        kind = self.kind(node.args[0])
        _, kernel, stride, padding, dilation, ceil = (*node.args, None, None, None, None, None)[:6]
        if kind is None or node.kwargs or ceil or node.shape is None:
            return False
        kernel, stride, padding, dilation = (
            _pair(kernel), _pair(stride or kernel), _pair(padding or 0), _pair(dilation or 1),
        )  # fmt: skip
        source, shape = node.args[0].name, node.shape[-2:]
        self.kinds[node.name] = kind

        def run(values: dict[str, Any]) -> None:
            values[node.name] = max_pool(values[source], kernel, stride, padding, dilation, shape)  # pyright: ignore[reportArgumentType]

        self._step(node, "pool", [source], {SPARSE: run})
        return True

    def _move(self, node: Node) -> bool:
        first = node.args[0]
        if not isinstance(first, Ref):
            return False
        if first.name in self.kinds:
            self.kinds[node.name] = self.kinds[first.name]
        if first.name in self.fused and self.users[first.name] == 1:
            self.fused[node.name] = self.fused[first.name]
        sums = self._sums()
        if any(node.name in names for names in sums.values()):
            return True
        function, args, kwargs = function_of(_that_may_copy(node.op)), node.args, node.kwargs

        def run(values: dict[str, Any]) -> None:
            values[node.name] = function(*fill(args, values), **kwargs)

        self._step(node, "move", node.reads, {TORCH: run})
        return True

    def _torch(self, node: Node) -> None:
        function, kwargs = function_of(node.op), node.kwargs
        floats = {name: self._as_float(name) for name in node.reads if self.kinds.get(name) is not None}
        names = node.reads

        def run(values: dict[str, Any]) -> None:
            seen = {name: floats[name](values) if name in floats else values[name] for name in names}
            values[node.name] = function(*fill(node.args, seen), **{k: fill(v, seen) for k, v in kwargs.items()})

        self._step(node, node.op.split(".")[1] if "." in node.op else node.op, names, {TORCH: run})

    # ---- pieces

    def _step(self, node: Node, what: str, reads: list[str], ways: dict[str, Run], title: str = "") -> Step:
        self.kinds.setdefault(node.name, None)
        step = Step(title or _title(node), what, reads, [node.name], ways, next(iter(ways)))
        self.steps.append(step)
        return step

    def _as_float(self, name: str) -> Callable[[dict[str, Any]], Any]:
        kind = self.kinds.get(name)
        if kind is None:
            return _get(name)
        if kind.unit == 1:
            return lambda values: values[name].to(torch.float32)
        return lambda values: values[name].to(torch.float32) * kind.unit

    def _spike_product(self, node: Node, kind: Bytes) -> SpikeProduct | None:
        args = [*node.args, *[None] * 7]
        weight = self.constants.get(args[1].name)
        bias = self.constants.get(args[2].name) if isinstance(args[2], Ref) else None
        if weight is None or node.kwargs or (isinstance(args[2], Ref) and bias is None):
            return None
        if node.op == LINEAR:
            return SpikeProduct(weight[..., None, None], bias, dtype=self.dtype, unit=kind.unit)
        if any(isinstance(arg, str) for arg in args):  # padding by a word
            return None
        stride, padding, dilation = _pair(args[3] or 1), _pair(args[4] or 0), _pair(args[5] or 1)
        return SpikeProduct(weight, bias, stride, padding, dilation, args[6] or 1, self.dtype, kind.unit)

    def _time_of(self, node: Node) -> int:
        """The steps in a product's first axis: its neuron's, or 1, for any number of steps without one is as good."""
        neuron_node = self.behind.get(node.name, (None, None))[0]
        return int(neuron_node.shape[0]) if neuron_node is not None else 1  # pyright: ignore[reportOptionalSubscript, reportArgumentType]


def _time_stays_first(nodes: list[Node]) -> bool:
    """Whether the first axis of the last is the slowest of the first all along, so that neurons can fire ahead of moves."""
    time = nodes[-1].shape[0] if nodes[-1].shape else None
    if not isinstance(time, int):
        return False
    for number, node in enumerate(nodes[1:-1], 1):
        before, after = nodes[number - 1].shape, node.shape
        if before is None or after is None:
            return False
        if node.op == "aten.unflatten.int" and node.args[1] == 0 and after[0] == time and after[2:] == before[1:]:
            continue
        if before[0] != time or after[0] != time or node.op in ("aten.select.int", "aten.chunk.default"):
            return False
        if node.op == "aten.transpose.int" and 0 in {axis % len(before) for axis in node.args[1:]}:
            return False
        if node.op in ("aten.permute.default", "aten.expand.default", "aten.slice.Tensor"):
            return False
    return True


def _that_may_copy(op: str) -> str:
    """A view's own operation refuses what is not laid out for it; this one copies then."""
    return "aten.reshape.default" if op in ("aten.view.default", "aten._unsafe_view.default") else op


def _title(node: Node) -> str:
    weight = node.args[1] if len(node.args) > 1 and node.op in (CONV, LINEAR) else None
    if isinstance(weight, Ref):
        return weight.name.removeprefix("p_model_").removesuffix("_weight").removesuffix("_conv")
    return node.name


def _rows(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1])[..., None, None]


def _pair(value: Any) -> tuple[int, int]:
    pair = list(value) if isinstance(value, (list, tuple)) else [value]
    return tuple(pair * 2 if len(pair) == 1 else pair)  # pyright: ignore[reportReturnType]


def _get(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda values: values[name]


def _same(name: str, new: str) -> Run:
    def run(values: dict[str, Any]) -> None:
        values[new] = values[name]

    return run

