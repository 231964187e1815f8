"""`spikeformers analyze`: a report on cost, firing, spike-driven operation, attention and accuracy over time."""

import json
import sys

from spikeformers.cli._terminal import console_of, in_percent, make_parser, make_table, say, show


def run(words: list[str]) -> None:
    parser = make_parser(
        "analyze MODEL|CHECKPOINT",
        "Writes a page and tables on a model's cost, firing rates, spike-driven operations and attention.",
        "spikeformers analyze runs/digits --out report",
    )
    parser.add_argument("model", help="a run folder or a file of weights, or a name from `spikeformers list`")
    parser.add_argument("--data", help="a known set or a folder (default: the set it was trained on)")
    parser.add_argument("--root", help="folder of known sets (data/)")
    parser.add_argument(
        "--out", default="report", help="folder for index.html, summary.json, layers.csv and pictures (report)"
    )
    parser.add_argument("--images", type=int, default=256, help="test images, spread over the set (256)")
    parser.add_argument("--batch-size", type=int, default=32, help="images per batch (32)")
    parser.add_argument("--convention", default="strict", help="convention for the energy of each layer (strict)")
    parser.add_argument("--mac", type=float, default=4.6, help="picojoules per multiply-accumulate (4.6)")
    parser.add_argument("--ac", type=float, default=0.9, help="picojoules per accumulate (0.9)")
    parser.add_argument("--memory", help="costs and bits for memory and the dense twin, such as dram=325,weight_bits=4")
    parser.add_argument("--raster", help="neuron layer whose spikes are drawn")
    parser.add_argument("--shown", type=int, default=2, help="number of images whose attention is drawn (2)")
    parser.add_argument("--json", action="store_true", help="print summary.json")
    asked = parser.parse_args(words)
    from spikeformers.files import check_output

    check_output("--out", asked.out, folder=True)
    from rich.progress import track

    from spikeformers.analysis import CONVENTIONS, Costs, verdict
    from spikeformers.analysis.memory_energy import parse_memory
    from spikeformers.analysis.report import write_report
    from spikeformers.evaluation.subject import load_for_analysis

    costs, memory = Costs(mac=asked.mac, ac=asked.ac), parse_memory(asked.memory)
    subject = load_for_analysis(
        asked.model, asked.data, root=asked.root, images=asked.images, batch_size=asked.batch_size
    )
    console = console_of(sys.stderr)
    report = write_report(
        subject.model,
        subject.batches,
        asked.out,
        title=subject.name,
        about={
            "data": f"{subject.data}, test",
            "weights": "trained" if subject.settings else "random, norms set",
            "parameters": f"{sum(p.numel() for p in subject.model.parameters()):,}",
        },
        classes=subject.classes,
        convention=asked.convention,
        costs=costs,
        memory=memory,
        raster=asked.raster,
        shown=asked.shown,
        progress=lambda batches, what: track(
            batches, what, console=console, transient=True, disable=not console.is_terminal
        ),
    )
    if asked.json:
        print(json.dumps(report.summary(), indent=2))
        return
    table = make_table("convention", "AC", "MAC", "energy", right=(1, 2, 3))
    for name in CONVENTIONS:
        total = report.profile.total(name)
        table.add_row(name, f"{total.ac / 1e6:,.3f} M", f"{total.mac / 1e6:,.3f} M", f"{total.millijoules:.4g} mJ")
    twin = report.profile.twin
    if twin:
        table.add_row("dense twin", "", f"{twin.macs / 1e6:,.3f} M", f"{twin.millijoules:.4g} mJ")
    show(table)
    uncounted = report.profile.uncounted
    say(
        f"means over {report.profile.samples} inputs, {report.profile.steps} steps"
        + (f"; accuracy {report.top1:.2f} %" if report.top1 is not None else ""),
        f"firing rate {100 * twin.rate:.2f} %; against the dense twin of {twin.bits:g} bits it breaks even at "
        f"{in_percent(twin.break_even)}, by the convention memory"
        if twin
        else "an unrolled network has the dense twin of the integer model",
        verdict(report.findings),
        *([f"not counted in any total: {', '.join(uncounted)}"] if uncounted else []),
        *map(str, report.advice),
        f"{asked.out}/index.html has the full report, with layers.csv, summary.json and pictures/ beside it",
    )
