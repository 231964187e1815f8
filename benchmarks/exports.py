"""Every family in every format that `export` writes: the table of docs/deploy.md, on one CPU thread.

python benchmarks/exports.py [NAME ...]

Each family is exported at its smallest size for still images, or the sizes NAME, with weights as drawn and norms set by
noise, so that neurons fire. A cell has the share of 32 inputs that get the model's class, the largest difference of
logits, CPU time of one input alone (ways in turns, the median of 7) and the file's size. Of int8 it has time and size:
weights as drawn learnt no margins, and accuracy is measured by int8.py. Small models come first.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from engine import machine, medians
from torch import Tensor

import spikeformers as sf
from spikeformers.deploy import quantizing
from spikeformers.deploy.onnx_model import OnnxModel
from spikeformers.evaluation.subject import set_norms
from spikeformers.models import describe_family, describe_model, list_families

INPUTS = 32


def smallest(family: str) -> str:
    sizes = [describe_model(size) for size in describe_family(family)["sizes"]]
    still = [size for size in sizes if size["in_channels"] == 3 and size["time_steps"] <= 4]
    return min(still, key=lambda size: size["parameters"])["name"]


def onnx(path: Path) -> Callable[[Tensor], Any]:
    model = OnnxModel(path, 1)
    return lambda x: model(x.numpy())


def openvino(path: Path) -> Callable[[Tensor], Any]:
    from openvino import Core  # pyright: ignore[reportMissingImports]

    settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    request = Core().compile_model(path, "CPU", settings).create_infer_request()
    return lambda x: request.infer({0: x.numpy()})[0]


def exported(path: Path) -> Callable[[Tensor], Any]:
    return torch.export.load(path).module()


LOADERS = {"onnx": onnx, "torch": exported, "openvino": openvino}


def row(name: str) -> None:
    torch.manual_seed(0)
    model = sf.create_model(name)
    x = torch.randn(INPUTS, model.in_channels, model.image_size, model.image_size)
    set_norms(model, x[:8])
    model.eval()
    one, ways, cells = x[:1].contiguous(), {"eager": lambda: model(x[:1])}, {}
    with tempfile.TemporaryDirectory() as folder:
        for to, load in LOADERS.items():
            try:
                made = sf.deploy.export(model, folder, to, inputs=x)  # pyright: ignore[reportArgumentType]
                size = sum(file.stat().st_size for file in Path(folder).glob(f"{made.path.stem}.*") if file.suffix in
                           {made.path.suffix, ".bin"}) / 1e6  # fmt: skip
                cells[to] = f"{made.agreement:.1%}, {made.largest:.0e}, {{}} ms, {size:.1f} MB"
                ways[to] = lambda run=load(made.path): run(one)
            except Exception as error:  # another library's, too
                cells[to] = f"no: {' '.join(str(error).split())[:80]}"
        quantizing._LEAST_AGREEMENT = 0.0
        try:
            eight = sf.deploy.quantize(Path(folder) / "model.onnx", folder, inputs=x)
            cells["int8"] = f"{{}} ms, {eight.bytes / 1e6:.1f} MB"
            ways["int8"] = lambda run=onnx(eight.path): run(one)
        except (ValueError, OSError) as error:
            cells["int8"] = f"no: {error}"
        with torch.inference_mode():
            found = {way: f"{1e3 * seconds:.1f}" for way, seconds in medians(ways).items()}
    columns = (cells[to].format(found.get(to)) for to in ("onnx", "int8", "torch", "openvino"))
    print(f"| `{name}` | {found['eager']} ms | {' | '.join(columns)} |", flush=True)


def main() -> None:
    torch.set_num_threads(1)
    print(machine())
    print("\n| size | eager | onnx | onnx, int8 | torch | openvino |\n|---|---|---|---|---|---|")
    for name in sys.argv[1:] or sorted(
        map(smallest, list_families()), key=lambda name: describe_model(name)["parameters"]
    ):
        row(name)


if __name__ == "__main__":
    main()
