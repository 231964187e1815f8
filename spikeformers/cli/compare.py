"""`spikeformers compare`: a fair comparison of parts."""

from typing import Any

HELP = """\
usage: spikeformers compare RECIPE|MODEL --swap SLOT=A,B[,...] [--swap ...] [--seeds N] [--any.field VALUE ...]

Trains every combination at the same budget, with the same seeds, data order and augmentation, and writes a report to
runs/compare-<recipe>/: index.html, report.md, report.json, variants.csv, runs.csv, pareto.svg. All combinations are
compared with the first. Started again, it resumes interrupted runs and skips finished ones.

  --swap SLOT=A,B     an argument of the model and its values: attention=SSA,my_ideas.py:MyAttention; several that
                      change together: neuron+neck_neuron=LIF,torch.nn:ReLU
  --seeds N           number of seeds, counting up from the recipe's (3), or a list of seeds, such as 0,1,5
  --epochs N          the budget: epochs, or
  --minutes M         minutes of training steps, at the speed measured here before training, or
  --flops F           FLOPs of training steps, such as 1e15
  --even ARGUMENT     adjust this argument, such as mlp_ratio, until all models have about as many parameters
  --jobs N            runs at the same time (one per GPU, or 1)
  --name NAME         the report's folder in runs/ (or in --out FOLDER)
  --dry-run           check everything and print what would be trained, and for how long; write nothing
  --json              print report.json, or with --dry-run the plan
  --data NAME --batch_size N --optimizer.lr X ...
                      any field of the recipe, as for `spikeformers train`; a MODEL uses a recipe for its data

  spikeformers compare digits --swap attention=SSA,FrozenSSA --swap neuron=LIF,PLIF --seeds 3
"""

_OWN = ("--swap", "--seeds", "--minutes", "--flops", "--even", "--jobs", "--name")
_ON_THE_PAGE = ("AC + MAC, M", "MiB per step", "steps")  # columns left out of the table in the terminal


def run(words: list[str]) -> None:
    if not words or {"-h", "--help"} & set(words):
        print(HELP, end="")
        return
    name, *words = words
    if name.startswith("-"):
        raise ValueError(f"name a recipe or a model before {name}: spikeformers compare NAME {name} ...")
    as_json, dry = "--json" in words, "--dry-run" in words
    own, rest = _own_words([word for word in words if word not in ("--json", "--dry-run")])
    import json
    import sys

    from spikeformers.cli._terminal import console_of, printable
    from spikeformers.compare import Budget, base_recipe, plan_comparison
    from spikeformers.compare.board import live_board
    from spikeformers.compare.plan import read_swap
    from spikeformers.compare.train_all import devices

    swaps = dict(read_swap(swap) for swap in own.get("--swap", []))
    if len(swaps) < len(own.get("--swap", [])):
        raise ValueError("--swap names an argument twice: give all its values at once, as in --swap neuron=LIF,PLIF")
    if not swaps:
        raise ValueError("compare has nothing to swap: give --swap slot=A,B, as in --swap attention=SSA,SDSA")
    limits = [Budget(kind, _number(own, f"--{kind}")) for kind in ("flops", "minutes") if f"--{kind}" in own]
    if len(limits) + any(word.partition("=")[0] == "--epochs" for word in rest) > 1:
        raise ValueError("--epochs, --minutes and --flops cannot be combined: give one of them as the budget")
    seeds = own.get("--seeds", ["3"])[-1]
    base = base_recipe(name, rest)
    jobs = _whole(own, "--jobs") if "--jobs" in own else devices(base)
    console = console_of(sys.stderr)

    def say(line: str) -> None:
        console.print(printable(line), style="dim")

    plan = plan_comparison(
        base,
        swaps,
        seeds=[_seed(seed) for seed in seeds.split(",")] if "," in seeds else _seed(seeds),
        budget=limits[0] if limits else Budget(),
        even=own.get("--even", [None])[-1],
        jobs=jobs,
        name=own.get("--name", [None])[-1],
        say=say,
    )
    if dry and as_json:
        runs = [{"run": str(run.folder), "variant": run.variant, "finished": run.finished} for run in plan.runs]
        print(json.dumps({"minutes": plan.minutes, "variants": plan.table(), "runs": runs}, indent=2))
        return
    if dry:
        _show_plan(plan)
        return
    report = plan.run(live_board(console, jobs), say)
    if as_json:
        print(json.dumps(report.describe(), indent=2))
    else:
        _show_report(report)
    if report.failed:
        count = len(report.failed) + len(report.outcomes)
        first, why = next(iter(report.failed.items()))
        raise ValueError(f"{len(report.failed)} of {count} runs failed, the first of them {first}: {why}")


def _show_plan(plan: Any) -> None:
    from spikeformers.cli._terminal import say

    _show_table(plan.table())
    say(
        f"{len(plan.runs)} runs, {sum(run.finished for run in plan.runs)} of them finished; the others take about "
        f"{plan.minutes:.0f} minutes of training steps here. Runs go to {plan.folder}"
    )


def _show_report(report: Any) -> None:
    from spikeformers.cli._terminal import say

    _show_table([{head: cell for head, cell in row.items() if head not in _ON_THE_PAGE} for row in report.table()])
    say(report.marks, "", *report.notes, "", f"{report.page} has the full report, with tables of its numbers beside it")


def _show_table(rows: list[dict[str, str]]) -> None:
    from spikeformers.cli._terminal import make_table, show

    table = make_table(*rows[0], right=range(1, len(rows[0])))
    for row in rows:
        table.add_row(*row.values())
    show(table)


def _own_words(words: list[str]) -> tuple[dict[str, list[str]], list[str]]:
    """The options of `compare` with their values, and the remaining words, which set fields of the recipe."""
    own: dict[str, list[str]] = {}
    rest: list[str] = []
    waiting = iter(words)
    for word in waiting:
        option, equals, value = word.partition("=")
        if option not in _OWN:
            rest.append(word)
            continue
        if not equals and (value := next(waiting, "")) == "":
            raise ValueError(f"{option} has no value: write {option} value")
        own.setdefault(option, []).append(value)
    return own, rest


def _number(own: dict[str, list[str]], option: str) -> float:
    try:
        return float(own[option][-1])
    except ValueError as error:
        raise ValueError(f"{option} must be a number, not {own[option][-1]!r}") from error


def _whole(own: dict[str, list[str]], option: str) -> int:
    number = _number(own, option)
    if not number.is_integer():  # also false for inf and nan
        raise ValueError(f"{option} must be an integer, not {own[option][-1]!r}")
    return int(number)


def _seed(word: str) -> int:
    if not (word.isascii() and word.isdigit()):
        raise ValueError(f"--seeds must be a number of seeds, such as 3, or a list, such as 0,1,5, not {word!r}")
    return int(word)
