"""A trained model as a file that runs without this library."""

from pathlib import Path
from typing import Any

from spikeformers.cli._terminal import make_parser, say

_SHOWN = 256  # test inputs that a file is checked on


def run(words: list[str]) -> None:
    parser = make_parser(
        "export CHECKPOINT",
        "A trained model as a file for ONNX Runtime, OpenVINO or torch, checked on test data before it is kept.",
        "spikeformers export runs/digits --to onnx",
    )
    parser.add_argument("checkpoint", help="a run folder, a .safetensors or .ckpt, or a released file")
    parser.add_argument("--to", choices=("onnx", "openvino", "torch"), default="onnx", help="the format (onnx)")
    parser.add_argument("--out", help="the folder to write to (the run's own, or exported/)")
    parser.add_argument("--data", help="a known set or a folder to check on; else the one it was trained on")
    parser.add_argument("--root", help="where known sets lie (data/)")
    parser.add_argument("--model", help="name of the model, for a file that does not say")
    parser.add_argument("--noise", action="store_true", help="check on noise, without a data set")
    asked = parser.parse_args(words)
    import torch

    from spikeformers.checkpoints.load import build_from
    from spikeformers.checkpoints.made_here import made_here
    from spikeformers.checkpoints.read import read_checkpoint
    from spikeformers.deploy.exporting import export
    from spikeformers.evaluation.test_set import TestSet
    from spikeformers.layers.time import time_first

    checkpoint = read_checkpoint(asked.checkpoint, asked.model)
    model = build_from(checkpoint, trusted=made_here(checkpoint.path))
    inputs = None
    if not asked.noise:
        test_set = TestSet(str(checkpoint.path), checkpoint.settings, asked.data, root=asked.root, workers=0)
        test: Any = test_set.prepared(model)
        step = max(1, len(test) // _SHOWN)  # spread over the set, whose classes may follow each other
        inputs = time_first(torch.stack([test[i][0] for i in range(0, len(test), step)][:_SHOWN]))
    folder = asked.out or (asked.checkpoint if Path(asked.checkpoint).is_dir() else "exported")
    say(str(export(model, folder, asked.to, inputs=inputs, settings=dict(checkpoint.settings))))
