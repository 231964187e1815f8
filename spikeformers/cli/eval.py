"""`spikeformers eval`: the scores of a checkpoint."""

import json
import sys

from spikeformers.cli._terminal import console_of, engine_weights, make_parser, say


def run(words: list[str]) -> None:
    parser = make_parser(
        "eval CHECKPOINT", "Measures accuracy, mAP or mIoU on a test set.", "spikeformers eval runs/digits"
    )
    parser.add_argument("checkpoint", help="a run folder, a weight file, or a name that `list` has weights for")
    parser.add_argument("--data", help="a known set or a folder (default: the set it was trained on)")
    parser.add_argument("--root", help="folder of known sets (data/)")
    parser.add_argument("--model", help="name of the model, for a file that does not store it")
    parser.add_argument("--batch-size", type=int, default=128, help="images per batch (128)")
    parser.add_argument("--workers", type=int, default=0, help="loading processes (0)")
    parser.add_argument("--time-steps", type=int, help="time steps, or frames of a recording (default: the model's)")
    parser.add_argument("--skip-broken", action="store_true", help="skip images or recordings that cannot be read")
    parser.add_argument("--engine", action="store_true", help="run on sf.deploy.spike_engine, on a CPU")
    parser.add_argument("--int8", action="store_true", help="with --engine: 8-bit weights")
    parser.add_argument("--json", action="store_true", help="print JSON")
    asked = parser.parse_args(words)
    weights = engine_weights(asked)
    from rich.progress import track

    from spikeformers.checkpoints.read import read_checkpoint
    from spikeformers.evaluation.evaluate import evaluate_checkpoint

    console = console_of(sys.stderr)
    scores = evaluate_checkpoint(
        read_checkpoint(asked.checkpoint, asked.model),
        asked.data,
        root=asked.root,
        batch_size=asked.batch_size,
        workers=asked.workers,
        skip_broken=asked.skip_broken,
        weights=weights,
        **({} if asked.time_steps is None else {"time_steps": asked.time_steps}),
        progress=lambda batches: track(
            batches, "evaluating", console=console, transient=True, disable=not console.is_terminal
        ),
    )
    if asked.json:
        print(json.dumps(vars(scores)))
    else:
        say(scores.told)
