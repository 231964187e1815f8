"""Every family in every format that `export` writes: the table of docs/deploy.md, on one CPU thread.

python benchmarks/exports.py [NAME ...]
python benchmarks/exports.py RUN|FILE...        # CPU time of one image in runs and in exported files

Each family is exported at its smallest size for still images, or the sizes NAME, to the formats whose packages are
installed, with weights as drawn and norms set by noise, so that neurons fire. A cell has the share of 16 inputs that
get the model's class, the largest difference of logits, CPU time of one input alone (ways in turns, the median of 7)
and the file's size. Of int8 it has time and size: weights as drawn learnt no margins, and accuracy is measured by
int8.py. The first column has the share of inputs that get the same class in float64: single spikes flip by rounding,
and weights as drawn leave near ties, so no file can be expected to agree more. Small models come first.
"""

import copy
import importlib.util
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from engine import machine, medians

import spikeformers as sf
from spikeformers.deploy import exporting, quantizing
from spikeformers.deploy.formats import FORMATS, run_by
from spikeformers.deploy.formats.onnx import OnnxModel
from spikeformers.evaluation.subject import set_norms
from spikeformers.models import describe_family, describe_model, list_families

INPUTS = 16
TRACE = exporting.whole_graph
HERE = [name for name, one in FORMATS.items() if all(map(importlib.util.find_spec, one.needs))]


def smallest(family: str) -> str:
    sizes = [describe_model(size) for size in describe_family(family)["sizes"]]
    still = [size for size in sizes if size["in_channels"] == 3 and size["time_steps"] <= 4]
    return min(still, key=lambda size: size["parameters"])["name"]


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
    exporting.whole_graph, exporting._LEAST_AGREEMENT, quantizing._LEAST_AGREEMENT = once(TRACE), 0.0, 0.0
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        classes, in_fp64 = model(x).argmax(-1), copy.deepcopy(model).double()(x.double()).argmax(-1)
        control = f"{(classes == in_fp64).float().mean():.0%}, "
        for to in HERE:
            try:
                made = sf.deploy.export(model, folder, cast("exporting.Format", to), inputs=x)
            except Exception as error:  # another library's
                cells[to] = f"no: {' '.join(str(error).split())[:80]}"
                continue
            size = sum(made.path.with_suffix(ending).stat().st_size for ending in FORMATS[to].endings) / 1e6
            cells[to] = f"{made.agreement:.0%}, {made.largest:.0e}, {{}} ms, {size:.1f} MB"
            ways[to] = lambda run=run_by(to, made.path): run(one.numpy())
        if "onnx" in ways:
            eight = sf.deploy.quantize(Path(folder) / "model.onnx", folder, inputs=x)
            cells["int8"] = f"{{}} ms, {eight.bytes / 1e6:.1f} MB"
            ways["int8"] = lambda run=OnnxModel(eight.path): run(one.numpy())
        found = {way: f"{1e3 * seconds:.1f}" for way, seconds in medians(ways).items()}
    columns = (cells.get(to, "").replace("{}", str(found.get(to))) for to in (*HERE, "int8"))
    print(f"| `{name}` | {control}{found['eager']} ms | {' | '.join(columns)} |", flush=True)


def times(paths: list[str]) -> None:
    models = {path: sf.deploy.Predictor(path, threads=1) for path in paths}
    first = next(iter(models.values()))
    one = np.random.default_rng(0).random((1, first.run.in_channels, *[first.preprocess["image_size"]] * 2), np.float32)
    ways = {path: lambda run=model.run: run(one) for path, model in models.items()}
    for path, seconds in medians(ways).items():
        print(f"{path}: {1e3 * seconds:.2f} ms")


def main() -> None:
    torch.set_num_threads(1)
    print(machine())
    if sys.argv[1:] and all(Path(path).exists() for path in sys.argv[1:]):
        times(sys.argv[1:])
        return
    columns = ["size", "eager", *HERE, "onnx, int8"]
    print(f"\n| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for name in [*sys.argv[1:]] or sorted(
        map(smallest, list_families()), key=lambda name: describe_model(name)["parameters"]
    ):
        try:
            row(name)
        except Exception as error:
            print(f"| `{name}` | {' '.join(str(error).split())[:160]} |", flush=True)


if __name__ == "__main__":
    main()
