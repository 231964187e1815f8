"""One step of a model against the whole sequence, in torch and in ONNX Runtime: milliseconds alone, on one thread.

python benchmarks/step.py MODEL...        random weights with norms that make them spike
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import nn

import spikeformers as sf
from spikeformers.deploy.formats.onnx import OnnxModel


def lively(model: Any, frames: torch.Tensor) -> Any:
    for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
        nn.init.normal_(norm.weight, 2.0, 0.2)
        nn.init.normal_(norm.bias, 0.7, 0.2)
        norm.momentum = 1.0
    model.train()(frames)
    return sf.deploy.fold(model)


def milliseconds(run: Callable[[], Any], times: int = 9) -> float:
    """The median of CPU time, which other processes disturb less than the clock."""
    run()
    taken = []
    for _ in range(times):
        begun = time.process_time()
        run()
        taken.append(1e3 * (time.process_time() - begun))
    return sorted(taken)[times // 2]


def nodes(graph: Any) -> int:
    """All nodes, those inside a Scan too."""
    return len(graph.node) + sum(nodes(a.g) for node in graph.node for a in node.attribute if a.HasField("g"))


@torch.inference_mode()
def rows(name: str) -> Iterator[tuple[str, float, str]]:
    model = sf.create_model(name)
    shape = (model.time_steps, 2, model.in_channels, model.image_size, model.image_size)
    frames = torch.randn(shape) if model.in_channels == 3 else torch.poisson(torch.full(shape, 0.3))
    model = lively(model, frames)
    one = frames[:, :1].contiguous()
    step = sf.deploy.streaming(model)
    state = step.initial()
    size = sum(kept.nbytes for kept in state) / 2**20
    yield "torch, whole", milliseconds(lambda: model(one)), f"{model.time_steps} steps"
    yield "torch, step", milliseconds(lambda: step(one[0], state)), f"state {size:.1f} MiB in {len(state)} tensors"
    for form in ("whole", "step", "scan"):
        with tempfile.TemporaryDirectory() as folder, torch.inference_mode(False):
            made = sf.deploy.export(model, folder, form=form, inputs=frames.clone())
            run, graph = OnnxModel(made.path), onnx.load(made.path).graph
            said = f"{nodes(graph)} nodes, {Path(made.path).stat().st_size / 1e6:.1f} MB"
            if form == "step":
                begin, frame = run.initial(), one[0].numpy()
                yield "ONNX, step", milliseconds(partial(run.step, frame, begin)), said
            else:
                yield f"ONNX, {form}", milliseconds(partial(run, one.numpy())), said


def main(*names: str) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for name in names:
        print(name)
        for way, taken, said in rows(name):
            print(f"  {way:13} {taken:8.1f} ms  {said}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
