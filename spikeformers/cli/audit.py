"""`spikeformers audit`: faults of any model that accuracy does not show."""

import json
import sys
from pathlib import Path

from spikeformers.cli._terminal import make_parser, make_table, say, show

_SHOWN = 5  # findings of a check on the terminal


def run(words: list[str]) -> int:
    parser = make_parser(
        "audit MODEL|CHECKPOINT|FILE.py:build",
        "Looks for leaks between samples, calls and time steps, products without spikes, gradients that stop, and "
        "spikes that flip under autocast, in any PyTorch model. Exits with 1 if it finds any.",
        "spikeformers audit my_model.py:build --shape 3,32,32 --out audit",
    )
    parser.add_argument("model", help="a name, a run folder, a file of weights, or file.py:build, a function that "
                        "returns a module, or a module and inputs")  # fmt: skip
    parser.add_argument("--shape", help="shape of one sample, for inputs of noise (default: the model's images)")
    parser.add_argument("--layout", help="first axes of the inputs: B, TB or BT (TB for five axes, else B)")
    parser.add_argument("--steps", type=int, help="time steps (default: the model's time_steps or T)")
    parser.add_argument("--batch-size", type=int, default=3, help="samples, at least 2 (3)")
    parser.add_argument("--data", help="a known set or a folder, for inputs of its test images")
    parser.add_argument("--root", help="folder of known sets (data/)")
    parser.add_argument("--reset", action="store_true", help="reset states between calls, as SpikingJelly needs")
    parser.add_argument("--training", action="store_true", help="training mode, where batch norms leak by design")
    parser.add_argument("--skip", default="", help="checks to leave out, such as spike-driven,autocast")
    parser.add_argument("--out", help="folder for index.html and audit.json")
    parser.add_argument("--json", action="store_true", help="print JSON")
    asked = parser.parse_args(words)
    shape = _shape_of(asked.shape)
    if asked.data and shape:
        raise ValueError("--shape asks for noise as input, and --data for test images: leave out one of them")
    if asked.root and not asked.data:
        raise ValueError("--root is the folder of the set that --data names: give --data too, or leave out --root")
    if asked.steps is not None and asked.steps < 1:
        raise ValueError(f"--steps {asked.steps} is below 1: give at least 1")
    from spikeformers.files import check_output

    check_output("--out", asked.out, folder=True)
    if ".py:" in asked.model:
        sys.path.insert(0, str(Path(asked.model.rpartition(":")[0]).resolve().parent))  # what that file imports
    from spikeformers.analysis import audit_model
    from spikeformers.analysis.model_audit.page import check_audit_folder, write_audit
    from spikeformers.analysis.model_audit.subject import check_layout
    from spikeformers.evaluation.audited import load_to_audit

    check_layout(asked.layout)
    if asked.out:
        check_audit_folder(asked.out)
    how = dict(layout=asked.layout, steps=asked.steps)
    model, inputs = load_to_audit(
        asked.model, shape=shape, batch_size=asked.batch_size, data=asked.data, root=asked.root, **how
    )
    skip = [name.strip() for name in asked.skip.split(",") if name.strip()]
    found = audit_model(model, inputs, reset=asked.reset, training=asked.training, skip=skip, name=asked.model, **how)
    if asked.out:
        write_audit(found, asked.out)
    if asked.json:
        print(json.dumps(found.describe(), indent=2))
        return int(not found.clean)
    table = make_table("check", "outcome", "where it begins", "what")
    for check in found.checks:
        table.add_row(check.name, check.status, "", "" if check.found else check.note)
        for one in check.found[:_SHOWN]:
            table.add_row("", "", f"{one.module} ({one.kind})", one.says)
        if (more := len(check.found) - _SHOWN) > 0:
            table.add_row("", "", f"and {more} more", "")
        if check.found and check.note:
            table.add_row("", "", "", check.note)
    show(table)
    say(*(f"{what}: {says}" for what, says in found.about.items()))
    if asked.out:
        say(f"{asked.out}/index.html has all of it, and audit.json the numbers")
    return int(not found.clean)


def _shape_of(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    words = text.replace("x", ",").split(",")
    if not all(word.strip().isdecimal() and int(word) for word in words):
        raise ValueError(f"--shape {text} is not a shape: give whole numbers, such as 3,32,32")
    return tuple(map(int, words))
