"""What documents take from the package and from studies: tables, the catalogue of parts. `make docs` writes it."""

import csv
import importlib
import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from spikeformers.cli import COMMANDS
from spikeformers.layers.contracts import CURRENT, DECLARATIONS
from spikeformers.models import PAPERS, describe_family, describe_model, list_families, list_models
from spikeformers.models.parts import part_names

ROOT = Path(__file__).parent.parent
BEGIN, END = "<!-- from docs/tables.py -->\n", "<!-- end -->\n"
PART_SLOTS = (
    "attention",
    "position",
    "mlp",
    "stem",
    "neuron",
    "shortcut",
    "projection",
    "head",
    "neck",
    "quantizer",
    "pruning",
)
SLOTS = ("stem", "attention", "mlp", "shortcut", "neuron")


def families() -> list[dict[str, Any]]:
    """What the package says of each, the oldest first. Raises ValueError for a size without a paper that we know."""
    for name in list_models():
        if describe_model(name)["paper"] not in PAPERS:
            raise ValueError(
                f"{name} cites no paper of models/papers.py: give it a row of PUBLISHED, and add the paper"
            )
    return sorted(
        map(describe_family, list_families()), key=lambda says: (PAPERS[says["papers"][0]].year, says["papers"][0])
    )


def family_table() -> Iterator[str]:
    """README's: one row per family, its masked autoencoder aside."""
    yield "| family | parameters | ImageNet-1k, % | paper | file |"
    yield "|---|--:|--:|---|---|"
    for says in families():
        if says["name"].endswith("_mae"):
            continue
        top1 = says["top1"].get("ImageNet-1k")
        file = f"spikeformers/models/{says['name']}.py"
        cells = (
            says["title"].replace(", ", "<br>", 1),
            parameter_range(says),
            "" if top1 is None else f"{top1:.2f}",
            ", ".join(map(cited, says["papers"])),
            f"[{says['name']}]({file})",
        )
        yield f"| {' | '.join(cells)} |"


def parts_table() -> Iterator[str]:
    """docs/models.md's first: what each family is made of, and its best published accuracies."""
    yield f"| family | {' | '.join(SLOTS)} | parameters | best published top-1, % |"
    yield f"|---|{'---|' * len(SLOTS)}--:|---|"
    for says in families():
        parts = (", ".join(says["parts"].get(slot, ["-"])) for slot in SLOTS)
        top1 = ", ".join(f"{data} {best:.2f}" for data, best in says["top1"].items())
        family = f"[{says['title']}](../spikeformers/models/{says['name']}.py)"
        yield f"| {' | '.join((family, *parts, parameter_range(says), top1))} |"


def parameter_range(says: dict[str, Any]) -> str:
    ends = dict.fromkeys((says["parameters"][0], says["parameters"][-1]))
    return f"{' - '.join(f'{count / 1e6:.1f}' for count in ends)} M"


def size_tables() -> Iterator[str]:
    """docs/models.md's: a section per family, one row per size."""
    for says in families():
        yield f"## {says['title']}\n"
        yield f"{says['difference'][0].upper()}{says['difference'][1:]} {', '.join(map(cited, says['papers']))}.\n"
        yield "| model | parameters | T | input | published top-1 |"
        yield "|---|--:|--:|---|---|"
        for size in map(describe_model, says["sizes"]):
            shape = f"{size['in_channels']} x {size['image_size']} x {size['image_size']}"
            top1 = "-" if size["top1"] is None else f"{size['top1']:.2f} % {size['data']}"
            yield f"| `{size['name']}` | {size['parameters']:,} | {size['time_steps']} | {shape} | {top1} |"
        yield ""


def part_catalogue() -> Iterator[str]:
    """docs/parts.md's: a section per slot, and in it what each part's docstring says."""
    for slot in PART_SLOTS:
        module = importlib.import_module("spikeformers.neurons" if slot == "neuron" else f"spikeformers.layers.{slot}")
        names = part_names(slot)
        yield f"## {slot}\n\n{inspect.getdoc(module)}\n"
        yield " · ".join(f"[{name}](#{name.lower()})" for name in names) + "\n"
        for name in names:
            part = getattr(module, name)
            file = Path(inspect.getfile(part)).relative_to(ROOT)
            arguments = inspect.signature(part)
            given = ", ".join(
                f"{p.name}={getattr(p.default, '__name__', repr(p.default))}"
                for p in arguments.parameters.values()
                if p.kind is p.KEYWORD_ONLY and p.default is not p.empty
            )
            says = [f"[{file.name}](../{file})", f"`{given}`" if given else "", *declared(part)]
            yield f"### {name}\n\n{' · '.join(filter(None, says))}\n\n{inspect.getdoc(part)}\n"


def declaration_table() -> Iterator[str]:
    """docs/contracts.md's: what a part may say of itself."""
    yield "| attribute | on | type | without it | says | read by |"
    yield "|---|---|---|---|---|---|"
    for name, declaration in DECLARATIONS.items():
        kind, default, by, says, read_by = declaration
        without = "required" if default is ... else f"`{default}`"
        yield f"| `{name}` | {by} | `{kind}` | {without} | {says} | {read_by} |"


def command_table() -> Iterator[str]:
    """docs/commands.md's: what `spikeformers --help` says."""
    yield "| command | does |"
    yield "|---|---|"
    for name, (takes, says) in COMMANDS.items():
        says = re.sub(r"\S*<\w+>\S*", r"`\g<0>`", says)  # or Markdown takes it for a tag
        yield f"| `spikeformers {name} {takes}` | {says} |"


def public_names(package: str) -> Iterator[str]:
    """A page of the Python reference: what the package exports, for mkdocstrings to fill in."""
    module = importlib.import_module(package)
    yield f"{inspect.getdoc(module)}\n"
    things = [getattr(module, name) for name in module.__all__]
    for thing in dict.fromkeys(t for t in things if inspect.isclass(t) or inspect.isfunction(t)):  # aliases once
        yield f"::: {thing.__module__}.{thing.__qualname__}\n"


def study_table(variants: Path) -> Iterator[str]:
    """A study's, from what `compare` left: one row per variant."""
    yield "| variant | parameters | validation, % | test, % | against the first | energy, µJ | firing | images/s |"
    yield "|---|--:|--:|--:|--:|--:|--:|--:|"
    with variants.open(newline="") as file:
        for row in csv.DictReader(file):
            first = not row["p_holm"]
            against = "the first" if first else f"{float(row['against_first']):+.2f}"
            seen = "" if first or float(row["p_holm"]) >= 0.05 else " !"
            cells = (
                row["variant"] + " *" * (row["on_front"] == "True"),
                f"{int(row['parameters']):,}",
                f"{float(row['validation']):.2f} ± {float(row['validation_spread']):.2f}",
                f"{float(row['test']):.2f} ± {float(row['test_spread']):.2f}",
                against + seen,
                f"{1000 * float(row['millijoules']):.2f}",
                f"{float(row['firing']):.3f}",
                f"{float(row['train_images_per_second']):.0f}",
            )
            yield f"| {' | '.join(cells)} |"


def declared(part: Any) -> Iterator[str]:
    """What a part says of itself in attributes."""
    if not getattr(part, "causal", True):
        yield "looks ahead in time"
    if levels := getattr(part, "levels", None):
        yield f"emits {', '.join(f'{level:g}' for level in levels)}"
    if getattr(part, "emits", None) == CURRENT and part.__name__ in part_names("stem"):
        yield "returns current, so use a shortcut that takes current after it"


def cited(paper: str) -> str:
    about = PAPERS[paper]
    return f"[{paper if about.venue == 'arXiv' else f'{about.venue} {about.year}'}]({about.link})"


TABLES: dict[Path, list[Callable[[], Iterable[str]]]] = {  # by document, in its order
    ROOT / "README.md": [family_table],
    ROOT / "docs" / "models.md": [parts_table, size_tables],
    ROOT / "docs" / "parts.md": [part_catalogue],
    ROOT / "docs" / "contracts.md": [declaration_table],
    ROOT / "docs" / "commands.md": [command_table],
}
for page in (ROOT / "docs" / "reference").glob("*.md"):
    package = "spikeformers" if page.stem == "spikeformers" else f"spikeformers.{page.stem}"
    TABLES[page] = [partial(public_names, package)]
for study in (ROOT / "docs" / "studies").glob("*.md"):
    TABLES[study] = [partial(study_table, file) for file in sorted(study.with_suffix("").glob("*/variants.csv"))]


def renewed(document: Path) -> str:
    """A document's text with its tables, each between two comments, written anew."""
    before, *rest = document.read_text(encoding="utf-8").split(BEGIN)
    pieces = [before]
    for table, old in zip(TABLES[document], rest, strict=True):
        pieces += [BEGIN, *(f"{line}\n" for line in table()), END, old.partition(END)[2]]
    return "".join(pieces)


if __name__ == "__main__":
    for document in TABLES:
        document.write_text(renewed(document), encoding="utf-8")
