"""`spikeformers export`: a trained model as a file that runs without this library."""

from pathlib import Path
from typing import Any

from spikeformers.cli._terminal import make_parser, say
from spikeformers.deploy.formats import FORMATS

_CHECKED, _CHECKED_INT8 = 256, 1024  # test inputs to check a file on; accuracy takes more


def run(words: list[str]) -> None:
    parser = make_parser(
        "export CHECKPOINT",
        "Writes a trained model for another runtime, after checking it on test data.",
        "spikeformers export runs/digits --to onnx",
    )
    parser.add_argument("checkpoint", help="a run folder, a .safetensors or .ckpt, or a released file")
    parser.add_argument("--to", choices=FORMATS, default="onnx", help="the format (onnx)")
    parser.add_argument(
        "--form",
        choices=("whole", "step", "scan"),
        default="whole",
        help="whole runs all steps, step runs one, scan runs any number (whole)",
    )
    parser.add_argument("--int8", action="store_true", help="8-bit weights, and counts of spikes as integers (onnx)")
    parser.add_argument("--out", help="the folder to write to (the run's own, or exported/)")
    parser.add_argument("--data", help="a known set or a folder to check on (default: the set it was trained on)")
    parser.add_argument("--root", help="folder of known sets (data/)")
    parser.add_argument("--model", help="name of the model, for a file that does not store it")
    parser.add_argument("--noise", action="store_true", help="check on noise, without a data set")
    asked = parser.parse_args(words)
    if asked.int8 and asked.to != "onnx":
        raise ValueError(f"--int8 writes ONNX, not {asked.to}: leave out --to {asked.to} or --int8")
    if asked.int8 and asked.form != "whole":
        raise ValueError(f"--int8 writes all steps, not form {asked.form}: leave out --form {asked.form} or --int8")
    if asked.noise and (sets := [f"--{name}" for name in ("data", "root") if getattr(asked, name)]):
        raise ValueError(f"--noise checks without a data set: leave out --noise, or {' and '.join(sets)}")
    from spikeformers.files import check_output

    folder = asked.out or (asked.checkpoint if Path(asked.checkpoint).is_dir() else "exported")
    check_output("--out", folder, folder=True)
    import torch

    from spikeformers.checkpoints.load import build_from
    from spikeformers.checkpoints.made_here import made_here
    from spikeformers.checkpoints.read import read_checkpoint
    from spikeformers.data.eval_shards import NOT_COUNTED
    from spikeformers.deploy.exporting import export
    from spikeformers.deploy.quantizing import quantize
    from spikeformers.evaluation.test_set import TestSet
    from spikeformers.layers.time import time_first

    checkpoint = read_checkpoint(asked.checkpoint, asked.model)
    model = build_from(checkpoint, trusted=made_here(checkpoint.path))
    inputs = labels = None
    if not asked.noise:
        test_set = TestSet(str(checkpoint.path), checkpoint.settings, asked.data, root=asked.root, workers=0)
        checked = _CHECKED_INT8 if asked.int8 else _CHECKED
        count = len(test_set.sets.test)
        chosen = torch.linspace(0, count - 1, min(checked, count)).long().tolist()  # it may be sorted by class
        test: Any = test_set.prepared(model, chosen)
        pairs = [pair for pair in (test[i] for i in range(len(test))) if pair[1] is not NOT_COUNTED]
        inputs = time_first(torch.stack([sample for sample, _ in pairs]))
        labels = [label for _, label in pairs]
    settings = dict(checkpoint.settings)
    if asked.int8:
        say(str(quantize(model, folder, inputs=inputs, labels=labels, settings=settings)))
    else:
        say(str(export(model, folder, asked.to, form=asked.form, inputs=inputs, settings=settings)))
