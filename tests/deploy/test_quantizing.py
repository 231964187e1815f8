"""int8 files: counts stay exact, products of counts run in integers, and a file that disagrees is not written."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from tiny_runs import write_images

import spikeformers as sf
from spikeformers.cli import main
from spikeformers.deploy import quantizing
from spikeformers.deploy.counts import Range, ranges
from spikeformers.deploy.formats.files import METADATA

PREPROCESS = {"image_size": 16, "mean": [0.5] * 3, "std": [0.25] * 3, "interpolation": "bilinear", "crop_pct": 1.0}
NUMBERS = {"half": 0.5, "one": 1.0, "quarter": 0.25, "four": 4.0, "zero": 0.0, "three": 3.0}
SPIKES = [("GreaterOrEqual", "x half", "fires"), ("Cast", "fires", "s", {"to": 1})]
COUNTS = [("Clip", "x zero four", "clipped"), ("Round", "clipped", "whole"), ("Mul", "whole quarter", "s")]
TERNARY = [("Greater", "x half", "up"), ("Cast", "up", "u", {"to": 1}), ("Less", "x zero", "down"),
           ("Cast", "down", "d", {"to": 1}), ("Sub", "u d", "s")]  # fmt: skip


def nodes(*rows):
    return [helper.make_node(kind, x.split(), y.split(), **(rest[0] if rest else {})) for kind, x, y, *rest in rows]


def graph_file(path, rows, output, shape, **constants):
    """A file with our metadata: an input x, nodes, constants."""
    values = {**{name: np.float32(n) for name, n in NUMBERS.items()}, **constants}
    graph = helper.make_graph(
        nodes(*rows),
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *shape])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, {METADATA: json.dumps({"time_steps": 1, "in_channels": 3, "num_classes": 2})})
    onnx.save(model, path)
    return path


def answer(path, x):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (SPIKES, Range(0, 1, 1)),
        (COUNTS, Range(0, 1, 0.25)),
        (TERNARY, Range(-1, 1, 1)),
        ([*SPIKES, ("Sub", "one s", "y")], Range(0, 1, 1)),
        ([*SPIKES, ("Add", "s s", "y")], Range(0, 2, 1)),
        ([*SPIKES, ("Add", "s s", "t"), ("Mul", "t s", "y")], Range(0, 2, 1)),
        ([*COUNTS, ("Div", "s four", "y")], Range(0, 0.25, 0.0625)),
        ([*COUNTS, ("Div", "whole four", "w"), ("Add", "w s", "y")], Range(0, 2, 0.25)),
        ([*COUNTS, ("Concat", "s whole", "y", {"axis": 0})], Range(0, 4, 0)),  # two units
        ([*SPIKES, ("Where", "fires three zero", "y")], Range(0, 3, 0)),  # numbers, whose unit nobody knows
        ([*SPIKES, ("Where", "fires s zero", "y")], Range(0, 1, 1)),
        ([*SPIKES, ("MaxPool", "s", "p", {"kernel_shape": [2, 2]}), ("Transpose", "p", "y")], Range(0, 1, 1)),
        ([*SPIKES, ("MaxPool", "s", "p y", {"kernel_shape": [2, 2]})], None),  # places, not counts
        ([*COUNTS, ("Cast", "s", "y", {"to": 7})], None),  # a quarter becomes 0
        ([*COUNTS, ("Cast", "whole", "y", {"to": 7})], Range(0, 4, 1)),
        ([*COUNTS, ("Split", "s", "a y", {"axis": 0})], Range(0, 1, 0.25)),
        ([*SPIKES, ("Add", "x s", "y")], None),  # a membrane
        ([*SPIKES, ("Mul", "s half", "t"), ("Add", "s t", "y")], Range(0, 1.5, 0)),
        ([("Clip", "x zero", "c"), ("Round", "c", "y")], None),  # without an upper bound
    ],
)
def test_ranges(rows, expected):
    constants = {name: np.float32(n) for name, n in NUMBERS.items()}
    assert ranges(nodes(*rows), constants.get).get(rows[-1][2].split()[-1]) == expected


@pytest.mark.parametrize("spikes", [SPIKES, COUNTS, TERNARY], ids=["spikes", "counts", "ternary"])
@pytest.mark.parametrize(
    ("kernel", "strides", "pads"),
    [((1, 1), [1, 1], [0] * 4), ((1, 1), [2, 2], [0] * 4), ((3, 3), [1, 1], [1] * 4), ((3, 2), [2, 1], [1, 0, 0, 1])],
)
def test_a_convolution_of_counts_is_exact(tmp_path, spikes, kernel, strides, pads):
    draw = np.random.default_rng(0)
    whole = draw.integers(-126, 127, (6, 5, *kernel))
    whole[:, 0, 0, 0] = 127  # so that int8 holds these weights exactly
    weight = (whole * draw.random((6, 1, 1, 1))).astype(np.float32)
    conv = ("Conv", "s w b", "logits", {"kernel_shape": kernel, "strides": strides, "pads": pads})
    bias = draw.standard_normal(6).astype(np.float32)
    before = graph_file(tmp_path / "before.onnx", [*spikes, conv], "logits", (5, 7, 8), w=weight, b=bias)
    x = draw.uniform(-2, 6, (3, 5, 7, 8)).astype(np.float32)
    assert quantizing._write(before, tmp_path / "after.onnx") == (1, 1)
    np.testing.assert_allclose(answer(tmp_path / "after.onnx", x), answer(before, x), rtol=1e-5, atol=1e-4)
    graph = onnx.load(tmp_path / "after.onnx").graph
    assert "Conv" not in {node.op_type for node in graph.node}
    assert {"w"} & {tensor.name for tensor in graph.initializer} == set()  # nothing is kept twice
    optimised = onnxruntime.SessionOptions()
    optimised.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    optimised.log_severity_level = 4
    onnxruntime.InferenceSession(tmp_path / "after.onnx", optimised, providers=["CPUExecutionProvider"])
    assert "MatMulIntegerToFloat" in {node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node}


def test_what_stays_float(tmp_path):
    image = ("Conv", "x wi", "current", {"kernel_shape": [1, 1]})  # as many channels as the image
    fires = [("GreaterOrEqual", "current half", "f"), ("Cast", "f", "s", {"to": 1})]
    rest = [
        ("Conv", "s wd", "deep", {"kernel_shape": [1, 1], "group": 4}),  # depthwise
        ("Conv", "s ws", "sum", {"kernel_shape": [1, 1]}),
        ("Conv", "sum wm", "logits", {"kernel_shape": [1, 1]}),  # reads a membrane: only its weights are int8
        ("Add", "deep deep", "unused"),
    ]
    draw = np.random.default_rng(0).standard_normal
    weights = {
        "wi": draw((4, 3, 1, 1)), "wd": draw((4, 1, 1, 1)), "ws": draw((32, 4, 1, 1)), "wm": draw((40, 32, 1, 1)),
    }  # fmt: skip
    weights = {name: value.astype(np.float32) for name, value in weights.items()}
    before = graph_file(tmp_path / "before.onnx", [image, *fires, *rest], "logits", (3, 2, 2), **weights)
    assert quantizing._write(before, tmp_path / "after.onnx") == (1, 4)
    graph = onnx.load(tmp_path / "after.onnx").graph
    assert {"wi", "wd", "ws", "wm"} & {tensor.name for tensor in graph.initializer} == {"wi", "wd"}
    kinds = [node.op_type for node in graph.node]
    assert kinds.count("Conv") == 3
    assert kinds.count("QuantizeLinear") == 1
    x = draw((2, 3, 2, 2)).astype(np.float32)
    np.testing.assert_allclose(answer(tmp_path / "after.onnx", x), answer(before, x), atol=0.2)


def test_counts_that_would_saturate_stay_float(tmp_path):
    many = [("Clip", "x zero most", "c"), ("Round", "c", "s"), ("Conv", "s w", "logits", {"kernel_shape": [1, 1]})]
    weight = np.ones((2, 4, 1, 1), np.float32)
    for most, integers in ((127, 1), (128, 0)):
        file = graph_file(tmp_path / "f.onnx", many, "logits", (4, 2, 2), w=weight, most=np.float32(most))
        if integers:
            assert quantizing._write(file, tmp_path / "q.onnx") == (1, 1)
            x = np.full((1, 4, 2, 2), 127, np.float32)
            np.testing.assert_allclose(answer(tmp_path / "q.onnx", x), 4 * x[:, :2])
        else:
            with pytest.raises(ValueError, match=r"no product of f\.onnx reads spikes or counts"):
                quantizing._write(file, tmp_path / "q.onnx")


@pytest.mark.parametrize(("low", "high", "integers"), [(2, 5, 0), (-300, -290, 0), (-255, -250, 1), (-3, 4, 1)])
def test_counts_for_which_no_byte_is_zero_stay_float(low, high, integers, tmp_path):
    rows = [("Clip", "x low high", "c"), ("Round", "c", "s"), ("Conv", "s w", "logits", {"kernel_shape": [1, 1]})]
    weight = np.ones((256, 4, 1, 1), np.float32)
    far = [
        ("Conv", "t w", "y", {"kernel_shape": [1, 1]}),
        ("GreaterOrEqual", "x half", "f"),
        ("Cast", "f", "t", {"to": 1}),
    ]
    ends = {"low": np.float32(low), "high": np.float32(high)}
    file = graph_file(tmp_path / "f.onnx", [*far[1:], far[0], *rows], "logits", (4, 2, 2), w=weight, **ends)
    assert quantizing._write(file, tmp_path / "q.onnx") == (1 + integers, 2)
    x = np.random.default_rng(0).uniform(-310, 10, (3, 4, 2, 2)).astype(np.float32)
    np.testing.assert_allclose(answer(tmp_path / "q.onnx", x), answer(file, x), rtol=1e-6)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, lively):
    folder = tmp_path_factory.mktemp("trained")
    images = write_images(folder / "set", train=1)
    torch.manual_seed(0)
    model = sf.create_model(
        "spikformer", dim=16, depth=1, num_heads=2, strides=(2, 2, 1, 1), time_steps=2, image_size=16, num_classes=3
    )
    lively(model, torch.randn(32, 3, 16, 16) - 0.8)
    for conv in (m for m in model.modules() if isinstance(m, torch.nn.Conv2d)):  # weights that int8 holds exactly
        unit = conv.weight.detach().abs().amax((1, 2, 3), keepdim=True) / 127
        conv.weight.data.div_(unit).round_().mul_(unit)
    recipe = {"data": {"name": str(images)}}
    settings = {"preprocess": PREPROCESS, "classes": ["left", "right", "top"], "recipe": recipe}
    return sf.save_pretrained(model, folder / "weights.safetensors", **settings), images


def test_from_a_checkpoint_to_a_prediction(trained, tmp_path, capsys):
    checkpoint, images = trained
    with pytest.raises(SystemExit) as left:
        main(["export", str(checkpoint), "--int8", "--out", str(tmp_path)])
    assert left.value.code == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{tmp_path / 'model-int8.onnx'}: ")
    assert " of 12 inputs get the float32 file's class; " in line
    assert line.endswith("10 of 12 products in integers")  # but the image's convolution, and the head
    assert [file.name for file in tmp_path.iterdir()] == ["model-int8.onnx"]
    files = sorted(images.rglob("*.png"))
    expected, said = (sf.deploy.Predictor(file)(files) for file in (checkpoint, tmp_path / "model-int8.onnx"))
    for one, other in zip(expected, said, strict=True):
        assert dict(one) == pytest.approx(dict(other), abs=1e-3)  # pictures differ by ten times that
    sf.deploy.Predictor(tmp_path / "model-int8.onnx")([Image.open(files[0])])  # a batch of one


def test_a_file_that_disagrees_is_not_written(tmp_path, monkeypatch):
    rows = [*SPIKES, ("Conv", "s w", "c", {"kernel_shape": [2, 2]}), ("Flatten", "c", "logits")]
    weight = np.random.default_rng(0).standard_normal((9, 5, 2, 2)).astype(np.float32)
    before = graph_file(tmp_path / "model.onnx", rows, "logits", (5, 2, 2), w=weight)
    x = np.random.default_rng(0).standard_normal((8, 5, 2, 2)).astype(np.float32)
    made = sf.deploy.quantize(before, tmp_path / "new", inputs=x)
    assert (made.agreement, made.accuracy, made.images, made.on) == (1.0, None, 8, "inputs")
    assert sf.deploy.quantize(before, tmp_path / "new").on == "images of noise"
    for labels in (np.zeros((8, 1)), [0] * 7):
        with pytest.raises(ValueError, match=r"labels of shape \[.*\] are not \[8\], one class for each input"):
            sf.deploy.quantize(before, tmp_path / "new", inputs=x, labels=labels)
    with pytest.raises(ValueError, match="has settings of its own: leave settings out"):
        sf.deploy.quantize(before, tmp_path / "new", inputs=x, settings={"classes": ["a"]})
    made.path.write_text("an earlier one")
    monkeypatch.setattr(quantizing, "_LEAST_AGREEMENT", 1.1)
    with pytest.raises(
        ValueError, match=r"with int8 weights only 100\.0% of 8 inputs get the float32 file's class, so it"
    ):
        sf.deploy.quantize(before, tmp_path / "new", inputs=x)
    monkeypatch.setattr(quantizing, "_LEAST_AGREEMENT", 0.0)
    monkeypatch.setattr(quantizing, "_MOST_LOST", -2.0)
    with pytest.raises(
        ValueError, match=r"the int8 file was not written: on 8 inputs its accuracy is .*, and .* in float32"
    ):
        sf.deploy.quantize(before, tmp_path / "new", inputs=x, labels=[0] * 8)
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["model-int8.onnx"]
    assert made.path.read_text() == "an earlier one"


@pytest.mark.parametrize(
    ("option", "line"),
    [
        (["--to", "torch"], "--int8 writes ONNX, not torch: leave out --to torch or --int8"),
        (["--form", "step"], "--int8 writes all steps, not form step: leave out --form step or --int8"),
    ],
)
def test_int8_of_another_format_or_form(trained, option, line, capsys):
    with pytest.raises(SystemExit) as left:
        main(["export", str(trained[0]), *option, "--int8"])
    assert left.value.code == 2
    assert line in capsys.readouterr().err
