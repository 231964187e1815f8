"""Every family in every format that `export` writes: the table of docs/deploy.md, on one CPU thread.

python benchmarks/exports.py [NAME ...]

Each family is exported at its smallest size for still images, or the sizes NAME, with weights as drawn and norms set by
noise, so that neurons fire. A cell has the share of 16 inputs that get the model's class, the largest difference of
logits, CPU time of one input alone (ways in turns, the median of 7) and the file's size. Of int8 it has time and size:
weights as drawn learnt no margins, and accuracy is measured by int8.py. OpenVINO reads the ONNX file, as export has it.
The first column has the share of inputs that get the same class in float64: single spikes flip by rounding, and weights
as drawn leave near ties, so no file can be expected to agree more. Small models come first.
"""

import copy
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from engine import machine, medians
from torch import Tensor

import spikeformers as sf
from spikeformers.deploy import exporting, quantizing
from spikeformers.deploy.formats.onnx import OnnxModel
from spikeformers.evaluation.subject import set_norms
from spikeformers.models import describe_family, describe_model, list_families

INPUTS = 16
PROGRAM = exporting._program


def smallest(family: str) -> str:
    sizes = [describe_model(size) for size in describe_family(family)["sizes"]]
    still = [size for size in sizes if size["in_channels"] == 3 and size["time_steps"] <= 4]
    return min(still, key=lambda size: size["parameters"])["name"]


def onnx(path: Path) -> Callable[[Tensor], Any]:
    model = OnnxModel(path, 1)
    return lambda x: model(x.numpy())


def openvino(path: Path) -> Callable[[Tensor], Any]:
    from openvino import Core, convert_model  # pyright: ignore[reportMissingImports]

    settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    request = Core().compile_model(convert_model(path), "CPU", settings).create_infer_request()
    return lambda x: request.infer({0: x.numpy()})[0].copy()


def exported(path: Path) -> Callable[[Tensor], Any]:
    return torch.export.load(path).module()


def once(function: Callable[..., Any]) -> Callable[..., Any]:
    """Tracing takes as long as all else: the formats of a model share it."""
    kept: list[Any] = []

    def call(*args: Any) -> Any:
        if not kept:
            kept.append(function(*args))
        return kept[0]

    return call


def row(name: str) -> None:
    torch.manual_seed(0)
    model = sf.create_model(name)
    x = torch.randn(INPUTS, model.in_channels, model.image_size, model.image_size)
    set_norms(model, x[:8])
    model.eval()
    one, ways, cells = x[:1].contiguous(), {"eager": lambda: model(x[:1])}, {}
    exporting._program, exporting._LEAST_AGREEMENT, quantizing._LEAST_AGREEMENT = once(PROGRAM), 0.0, 0.0
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        classes, in_fp64 = model(x).argmax(-1), copy.deepcopy(model).double()(x.double()).argmax(-1)
        control = f"{(classes == in_fp64).float().mean():.0%}, "
        for to, load in {"onnx": onnx, "torch": exported}.items():
            made = sf.deploy.export(model, folder, to, inputs=x)  # pyright: ignore[reportArgumentType]
            size = made.path.stat().st_size / 1e6
            cells[to] = f"{made.agreement:.0%}, {made.largest:.0e}, {{}} ms, {size:.1f} MB"
            ways[to] = lambda run=load(made.path): run(one)
        eight = sf.deploy.quantize(Path(folder) / "model.onnx", folder, inputs=x)
        cells["int8"] = f"{{}} ms, {eight.bytes / 1e6:.1f} MB"
        ways["int8"] = lambda run=onnx(eight.path): run(one)
        try:
            run = openvino(Path(folder) / "model.onnx")
            expected, found = model(x), torch.from_numpy(run(x))
            same = (expected.argmax(-1) == found.argmax(-1)).float().mean()
            cells["openvino"] = f"{same:.0%}, {(expected - found).abs().max():.0e}, {{}} ms"
            ways["openvino"] = lambda: run(one)
        except Exception as error:  # another library's
            cells["openvino"] = f"no: {' '.join(str(error).split())[:80]}"
        found = {way: f"{1e3 * seconds:.1f}" for way, seconds in medians(ways).items()}
    columns = (cells[to].format(found.get(to)) for to in ("onnx", "int8", "torch", "openvino"))
    print(f"| `{name}` | {control}{found['eager']} ms | {' | '.join(columns)} |", flush=True)


def main() -> None:
    torch.set_num_threads(1)
    print(machine())
    print("\n| size | eager | onnx | onnx, int8 | torch | openvino |\n|---|---|---|---|---|---|")
    for name in [*sys.argv[1:]] or sorted(
        map(smallest, list_families()), key=lambda name: describe_model(name)["parameters"]
    ):
        try:
            row(name)
        except Exception as error:
            print(f"| `{name}` | {' '.join(str(error).split())[:160]} |", flush=True)


if __name__ == "__main__":
    main()
