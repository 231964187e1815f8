"""The ONNX graph of all steps from that of one: a Scan, for any number of steps."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from spikeformers.deploy.formats.files import State


def scan_of(step: Any, state: Iterable[State]) -> Any:
    """The ONNX model that runs `step`, an exported one, over `x` `[T, B, C, H, W]`.

    Its outputs are `logits` `[B, K]`, the mean of all steps, and `logits.steps` `[T, B, K]`. Weights stand in the outer
    graph, where the Scan's body sees them.
    """
    from onnx import TensorProto, ValueInfoProto, helper, numpy_helper

    kept = [*state]
    body = step.graph
    inside = {"x": "frame", "logits": "logits.now"}  # names of the body differ from those around it
    for node in body.node:
        node.input[:] = [inside.get(name, name) for name in node.input]
        node.output[:] = [inside.get(name, name) for name in node.output]
    given = {info.name: info for info in body.input}
    made = {info.name: info for info in body.output}

    def renamed(info: Any) -> Any:
        return ValueInfoProto(name=inside[info.name], type=info.type)

    loop = helper.make_graph(
        [*body.node],
        "step",
        [*(given[one.name] for one in kept), renamed(given["x"])],
        [*(made[f"{one.name}.next"] for one in kept), renamed(made["logits"])],
        value_info=[*body.value_info],
    )
    one = helper.make_node("Constant", [], ["batch.axis"], value=helper.make_tensor("", TensorProto.INT64, [1], [1]))
    nodes = [
        helper.make_node("Shape", ["x"], ["x.shape"]),
        one,
        helper.make_node("Gather", ["x.shape", "batch.axis"], ["batch"]),
    ]
    weights = [*body.initializer]
    for number, own in enumerate(kept):
        sizes, value = f"initial.{number}.sizes", numpy_helper.from_array(np.array([own.value], own.dtype))
        weights.append(helper.make_tensor(sizes, TensorProto.INT64, [len(own.shape)], own.shape))
        nodes += [
            helper.make_node("Concat", ["batch", sizes], [f"initial.{number}.shape"], axis=0),
            helper.make_node("ConstantOfShape", [f"initial.{number}.shape"], [f"initial.{number}"], value=value),
        ]
    ends = [f"final.{number}" for number in range(len(kept))]
    nodes += [
        helper.make_node(
            "Scan",
            [*(f"initial.{number}" for number in range(len(kept))), "x"],
            [*ends, "logits.steps"],
            body=loop,
            num_scan_inputs=1,
        ),
        helper.make_node("Div", ends[:2], ["logits"]),  # the sum of the logits and the number of steps
    ]
    _, *frame = (d.dim_value for d in given["x"].type.tensor_type.shape.dim)
    _, classes = (d.dim_value for d in made["logits"].type.tensor_type.shape.dim)
    graph = helper.make_graph(
        nodes,
        "scan",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["steps", "batch_size", *frame])],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch_size", classes]),
            helper.make_tensor_value_info("logits.steps", TensorProto.FLOAT, ["steps", "batch_size", classes]),
        ],
        initializer=weights,
    )
    scan = helper.make_model(graph, opset_imports=step.opset_import, ir_version=step.ir_version)
    scan.metadata_props.extend(step.metadata_props)
    return scan
