"""Accuracy, size and latency of trained models by way of inference: the table of docs/deploy.md, on one CPU thread.

python benchmarks/int8.py cifar10_evening runs/demo --data FOLDER

A checkpoint is tested on its own set, or on FOLDER (train/<class>/*, test/<class>/*) if that has its classes. ORT's own
static int8 quantises convolutions per channel, calibrated on 50 of the test images, which favours it; a network without
spikes has no other. Latency is CPU time of one input alone, ways taken in turns, the median of 7; accuracy is on all
test images, or on every n-th.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from engine import machine, medians
from torch import Tensor

import spikeformers as sf
from spikeformers.analysis.inference_ways import inference_way
from spikeformers.checkpoints.load import build_from
from spikeformers.checkpoints.read import read_checkpoint
from spikeformers.deploy.formats.onnx import OnnxModel
from spikeformers.evaluation.test_set import TestSet

BATCH = 50


def tested(name: str, data: str | None) -> tuple[Any, Tensor, Tensor, dict[str, Any]]:
    checkpoint = read_checkpoint(name)
    model = build_from(checkpoint).eval()
    test: Any = TestSet(name, checkpoint.settings, data, workers=0).prepared(model)
    pairs = [test[i] for i in range(len(test))]
    x = torch.stack([image for image, _ in pairs])
    return model, x, torch.tensor([label for _, label in pairs]), dict(checkpoint.settings)


def rows(name: str, data: str | None, every: int) -> None:
    model, x, y, settings = tested(name, data)
    x, y = x[::every], y[::every]
    some, one = x[:: max(1, len(x) // 64)][:BATCH], x[:1].contiguous()
    with tempfile.TemporaryDirectory() as folder:
        exported = sf.deploy.export(model, folder, inputs=some, settings=settings).path
        size = sum(p.numel() * p.element_size() for p in model.parameters())
        floats = OnnxModel(exported)
        ways: dict[str, tuple[Callable[[Tensor], Any], Callable[[Tensor], Any], float]] = {
            "eager": (model, model, size),
            "ONNX": (lambda b: floats(b.numpy()), lambda b: floats(b.numpy()), exported.stat().st_size),
            "ORT's static int8": (  # exported for one batch size
                inference_way("onnxruntime-int8", model, some),
                inference_way("onnxruntime-int8", model, one),
                float("nan"),
            ),
        }
        if any(hasattr(part, "levels") for part in model.modules()):
            quantized = sf.deploy.quantize(exported, folder, inputs=x, labels=y)
            print(quantized, flush=True)
            ours = OnnxModel(quantized.path)
            ways["ONNX int8"] = (lambda b: ours(b.numpy()), lambda b: ours(b.numpy()), quantized.bytes)
            for way, weights in (("engine", torch.float32), ("engine int8", torch.int8)):
                engine = sf.deploy.spike_engine(model, some, weights=weights)
                engine.save(Path(folder) / "engine.safetensors")
                ways[way] = (engine, engine, (Path(folder) / "engine.safetensors").stat().st_size)
        with torch.inference_mode():
            found = medians({way: lambda run=run: run(one) for way, (_, run, _) in ways.items()})
            for way, (run, _, size) in ways.items():
                full = torch.cat([x, x[: -len(x) % BATCH]])
                answers = np.concatenate([np.asarray(run(batch.contiguous())) for batch in full.split(BATCH)])
                right = float((answers.argmax(-1)[: len(x)] == y.numpy()).mean())
                megabytes = "" if size != size else f"{size / 1e6:.1f}"
                print(f"| {name} | {way} | {100 * right:.2f} | {megabytes} | {1e3 * found[way]:.1f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="+")
    parser.add_argument("--data")
    parser.add_argument("--every", type=int, default=1, help="take every n-th test image only")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    print(machine())
    print("\n| model | way | right, % | MB | ms alone |\n|---|---|--:|--:|--:|")
    for name in asked.checkpoints:
        own = (
            "data"
            if asked.data and "digits" in str(read_checkpoint(name).settings.get("recipe", {}).get("data"))
            else ""
        )
        rows(name, None if own else asked.data, asked.every)


if __name__ == "__main__":
    main()
