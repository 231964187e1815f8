"""`spikeformers compare-energy`: parameters, scores, operations and energy of models side by side."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from spikeformers.cli._terminal import console_of, in_percent, make_parser, make_table, say, show

_OF_THE_TWIN: dict[str, Callable[[dict[str, Any]], str]] = {
    "dense twin: MAC": lambda row: f"{row['twin_macs'] / 1e6:,.3f} M, {row['twin_bits']:g} bits",
    "energy": lambda row: f"{row['twin_millijoules']:.4g} mJ",
    "firing rate": lambda row: f"{100 * row['twin_rate']:.2f} %",
    "breaks even at": lambda row: in_percent(row["twin_break_even"]),
}


def run(words: list[str]) -> None:
    parser = make_parser(
        "compare-energy MODEL|CHECKPOINT...",
        "Compares operations and energy of models, by every convention, on test images.",
        "spikeformers compare-energy runs/digits runs/digits-plif --csv energy.csv",
    )
    parser.add_argument("models", nargs="+", metavar="MODEL", help="run folders, files of weights, or names")
    parser.add_argument("--data", help="a known set or a folder (default: the set each was trained on)")
    parser.add_argument("--root", help="folder of known sets (data/)")
    parser.add_argument("--images", type=int, default=64, help="test images, spread over the set (64)")
    parser.add_argument("--batch-size", type=int, default=32, help="images per batch (32)")
    parser.add_argument("--mac", type=float, default=4.6, help="picojoules per multiply-accumulate (4.6)")
    parser.add_argument("--ac", type=float, default=0.9, help="picojoules per accumulate (0.9)")
    parser.add_argument("--memory", help="costs and bits for memory and the dense twin, such as dram=325,weight_bits=4")
    parser.add_argument("--csv", help="file to write the table to")
    parser.add_argument("--json", action="store_true", help="print JSON")
    asked = parser.parse_args(words)
    from spikeformers.files import atomic_write, check_output

    check_output("--csv", asked.csv)
    from rich.progress import track

    from spikeformers.analysis import CONVENTIONS, Costs
    from spikeformers.analysis.energy_table import energy_row, to_csv
    from spikeformers.analysis.memory_energy import parse_memory
    from spikeformers.evaluation.subject import load_for_analysis
    from spikeformers.models.measure import MEASURES

    costs, memory = Costs(mac=asked.mac, ac=asked.ac), parse_memory(asked.memory)
    console = console_of(sys.stderr)
    rows = []
    for model in track(asked.models, "counting", console=console, transient=True, disable=not console.is_terminal):
        how: dict[str, Any] = dict(root=asked.root, images=asked.images, batch_size=asked.batch_size)
        subject = load_for_analysis(model, asked.data, other_classes=True, **how)
        row = energy_row(model, subject.model, subject.batches, subject.settings, costs, memory)
        rows.append({**row, "data": subject.data})
    if asked.csv:
        atomic_write(Path(asked.csv), to_csv(rows))
    if asked.json:
        print(json.dumps(rows, indent=2))
        return
    table = make_table("per input", *(row["model"] for row in rows), right=range(1, len(rows) + 1))
    table.add_row("parameters", *(f"{row['parameters']:,}" for row in rows))
    fields = {measure.name: measure.field for measure in MEASURES.values()}
    scores = [(row[field := fields[row["measure"]]], row[f"{field}_of"]) for row in rows]
    named = " or ".join(dict.fromkeys(row["measure"] for row in rows))
    table.add_row(named, *("-" if score is None else f"{score:.2f} %, {of}" for score, of in scores))
    table.add_row("test images", *(f"{row['images']}, {row['data']}" for row in rows))
    table.add_row("steps", *(str(row["steps"]) for row in rows))
    table.add_row("FLOPs", *(f"{row['flops'] / 1e6:,.3f} M" for row in rows))
    for name in CONVENTIONS:
        table.add_section()
        table.add_row(f"{name}: AC", *(f"{row[f'ac_{name}'] / 1e6:,.3f} M" for row in rows))
        table.add_row("MAC", *(f"{row[f'mac_{name}'] / 1e6:,.3f} M" for row in rows))
        table.add_row("energy", *(f"{row[f'mj_{name}']:.4g} mJ" for row in rows))
    table.add_section()
    for what, said in _OF_THE_TWIN.items():
        table.add_row(what, *(said(row) if "twin_macs" in row else "-" for row in rows))  # an unrolled one has none
    show(table)
    for row in rows:
        if row["uncounted"]:
            say(f"{row['model']}: not counted in any total: {', '.join(row['uncounted'].split())}")
    say("docs/energy.md explains what each convention counts")
    if len({row["data"] for row in rows}) > 1:
        say("the models read different test sets, and firing rates depend on them: --data gives all of them one set")
    if any(of == "published" for _, of in scores):
        say("published: accuracy of the trained model; the weights here are random, and so are the firing rates")
