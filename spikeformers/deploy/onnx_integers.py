"""An ONNX graph whose products of spikes or counts with weights run in integers."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from spikeformers.deploy.counts import Range, ranges

_MOST_LEVELS = 128  # two products of 127 and 127 fit int16, where processors without VNNI add them up
_SMALL = 1024  # weights: fewer stay float32 unless they meet counts


class IntegerGraph:
    """Rewrites a graph and the graphs inside it, in place.

    Args:
        graph: an ONNX `GraphProto`.
        channels: of the model's input; the convolution that reads them stays float32.
        outer: constants of the graphs around this one, by name.

    Attributes:
        integers: products with weights that run in integers now.
        products: all products with weights.
    """

    def __init__(self, graph: Any, channels: int, outer: dict[str, np.ndarray]):
        from onnx import numpy_helper

        self.graph, self.channels = graph, channels
        self.integers = self.products = 0
        self.constants = {**outer, **{tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}}
        self.nodes: list[Any] = []
        self.made: dict[Any, str] = {}  # tensors that several products share
        for node in graph.node:
            if node.op_type == "Constant":
                self.constants |= {node.output[0]: numpy_helper.to_array(node.attribute[0].t)}
        self.ranges = ranges(graph.node, self.constants.get)
        for node in graph.node:
            for inside in [attribute.g for attribute in node.attribute if attribute.HasField("g")]:
                body = IntegerGraph(inside, channels, self.constants)
                self.integers, self.products = self.integers + body.integers, self.products + body.products
            if not self._rewrite(node):
                self.nodes.append(node)
        del graph.node[:]
        graph.node.extend(self.nodes)
        used = {*_names_read(graph)}
        kept = [tensor for tensor in graph.initializer if tensor.name in used]
        del graph.initializer[:]
        graph.initializer.extend(kept)

    def _rewrite(self, node: Any) -> bool:
        weight = self.constants.get(node.input[1]) if node.op_type in ("Conv", "MatMul", "Gemm") else None
        if weight is None or weight.ndim not in (2, 4):
            return False
        self.products += 1
        x, given = node.input[0], {attribute.name: _value(attribute) for attribute in node.attribute}
        if node.op_type == "Gemm" and (given.get("transA") or given.get("alpha", 1) != 1 or given.get("beta", 1) != 1):
            return False
        if node.op_type == "Conv" and (given.get("group", 1) > 1 or weight.shape[1] == self.channels):
            return False
        counts = self.ranges.get(x)
        plain = not {*given.get("dilations", [1])} - {1} and given.get("auto_pad", "NOTSET") == "NOTSET"
        if counts and counts.levels <= _MOST_LEVELS and 0 <= _zero_point(counts) <= 255 and plain:
            self.integers += 1
            self._in_integers(node, weight, given, counts)
            return True
        if weight.size < _SMALL:
            return False
        axis = 0 if node.op_type == "Conv" or given.get("transB") else 1  # stored as int8, computed in float32
        made = [x, self._weights(node.output[0], weight, axis), *node.input[2:]]
        self._node(node.op_type, made, node.output[0], **given)
        return True

    def _in_integers(self, node: Any, weight: np.ndarray, given: dict[str, Any], counts: Range) -> None:
        """A convolution becomes a product `[B, H, W, k k C] @ [k k C, C_out]`: ONNX Runtime has it in integers."""
        name, conv = node.output[0], node.op_type == "Conv"
        x, zero = self._counts(node.input[0], counts), self._zero(counts)
        if conv:
            x = self._columns(x, zero, weight.shape[2:], given.get("strides", [1, 1]), given.get("pads", [0] * 4))
            weight = weight.transpose(2, 3, 1, 0).reshape(-1, len(weight))
        elif given.get("transB"):
            weight = weight.T
        scale = self._constant(np.float32(counts.unit))
        x = self._node("DequantizeLinear", [x, scale, zero], f"{name}_counts")
        bias = node.input[2] if len(node.input) > 2 else ""
        inner = f"{name}_rows" if conv else name
        product = f"{name}_product" if bias else inner
        self._node("MatMul", [x, self._weights(name, weight, 1)], product)
        if bias:
            self._node("Add", [product, bias], inner)
        if conv:
            self._node("Transpose", [inner], name, perm=[0, 3, 1, 2])

    def _counts(self, x: str, counts: Range) -> str:
        scale, zero = self._constant(np.float32(counts.unit)), self._zero(counts)
        return self._once(("uint8", x), lambda name: self._node("QuantizeLinear", [x, scale, zero], name))

    def _zero(self, counts: Range) -> str:
        return self._constant(np.uint8(_zero_point(counts)))

    def _columns(self, x: str, zero: str, kernel: Any, strides: Any, pads: Any) -> str:
        """`[B, C, H, W]` -> `[B, H', W', k k C]`, what the kernel sees at each place; uint8."""
        key = ("columns", x, *kernel, *strides, *pads)
        if key in self.made:
            return self.made[key]
        rows = self._once(("last", x), lambda name: self._node("Transpose", [x], name, perm=[0, 2, 3, 1]))
        if any(pads):
            around = self._constant(np.array([0, *pads[:2], 0, 0, *pads[2:], 0]))
            rows = self._node("Pad", [rows, around, zero], f"{key[1]}_padded_{len(self.made)}")
        axes, steps = self._constant(np.array([1, 2])), self._constant(np.array(strides))
        parts = []
        for i, j in np.ndindex(*kernel):
            if (*kernel, *strides) == (1, 1, 1, 1):
                parts.append(rows)
                continue
            ends = [i - kernel[0] + 1 or 2**31, j - kernel[1] + 1 or 2**31]  # from the end
            begin, end = self._constant(np.array([i, j])), self._constant(np.array(ends))
            parts.append(self._node("Slice", [rows, begin, end, axes, steps], f"{rows}_{len(self.made)}_{i}_{j}"))
        name = f"{rows}_{len(self.made)}_columns"
        self.made[key] = parts[0] if len(parts) == 1 else self._node("Concat", parts, name, axis=3)
        return self.made[key]

    def _weights(self, name: str, weight: np.ndarray, axis: int) -> str:
        """int8 with a scale for each output channel."""
        most = np.abs(weight).max(tuple(a for a in range(weight.ndim) if a != axis), keepdims=True)
        scale = np.where(most > 0, most, 1).astype(np.float32) / np.float32(127)
        whole = np.rint(weight / scale).astype(np.int8)
        given = [
            self._constant(np.ascontiguousarray(a)) for a in (whole, scale.reshape(-1), np.zeros(scale.size, np.int8))
        ]
        return self._node("DequantizeLinear", given, f"{name}_weights", axis=axis)

    def _constant(self, value: Any) -> str:
        from onnx import numpy_helper

        value = np.asarray(value)
        key = ("constant", value.dtype.str, value.shape, value.tobytes() if value.size < 9 else len(self.made))
        if key not in self.made:
            self.made[key] = f"int8_{len(self.made)}_{id(self)}"
            self.graph.initializer.append(numpy_helper.from_array(value, self.made[key]))
        return self.made[key]

    def _once(self, key: Any, make: Any) -> str:
        if key not in self.made:
            self.made[key] = make("_".join(map(str, reversed(key))))
        return self.made[key]

    def _node(self, kind: str, inputs: Iterable[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, [*inputs], [output], f"{output}_{kind}", **attributes))
        return output


def _zero_point(counts: Range) -> int:
    """The byte that stands for 0; there is none if a range lies far from 0, or above it."""
    return round(-counts.low / counts.unit)


def _value(attribute: Any) -> Any:
    from onnx import helper

    value = helper.get_attribute_value(attribute)
    return value.decode() if isinstance(value, bytes) else value


def _names_read(graph: Any) -> Iterator[str]:
    yield from (output.name for output in graph.output)
    for node in graph.node:
        yield from node.input
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _names_read(attribute.g)
