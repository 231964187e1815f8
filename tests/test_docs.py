"""What the documents say, run: every Python block, every command's words, and the tables of models."""

import re
import runpy
import shlex
from importlib import import_module
from pathlib import Path

import pytest
import torch
from jsonargparse import ArgumentParser
from PIL import Image

import spikeformers as sf
from spikeformers.analysis import CONVENTIONS
from spikeformers.cli import COMMANDS
from spikeformers.compare import base_recipe
from spikeformers.data.known import SETS
from spikeformers.deploy.formats import FORMATS
from spikeformers.models import list_families, list_models
from spikeformers.training import read_recipe

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", document.read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("document", [d for d in DOCUMENTS if blocks(d, "python")], ids=lambda d: d.name)
def test_python_blocks_run_top_to_bottom(document, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (48, 40)).save("photo.jpg")
    names: dict = {}
    for block in blocks(document, "python"):
        exec(compile(block, document.name, "exec"), names)


def test_excerpts_are_what_the_files_say():
    """A block that begins with `# from FILE` is that file's text, `# ...` standing for what is left out."""
    found = 0
    for excerpt in (block for d in DOCUMENTS for language in ("python", "py") for block in blocks(d, language)):
        first, _, rest = excerpt.partition("\n")
        if first.startswith("# from "):
            source = (ROOT / first.removeprefix("# from ")).read_text()
            for piece in re.split(r"^ *# \.\.\.\n", rest, flags=re.MULTILINE):
                assert piece in source, f"{first}:\n{piece}"
                source = source[source.index(piece) :]
                found += 1
    assert found > 10


class Parsed(Exception):
    """A command understood its words."""


@pytest.fixture
def parse(monkeypatch):
    """Runs a command of `spikeformers` up to where its own parser has taken all its words."""

    def stopped(function):
        def run(*given, **named):
            function(*given, **named)
            raise Parsed

        return run

    monkeypatch.setattr(ArgumentParser, "parse_args", stopped(ArgumentParser.parse_args))
    monkeypatch.setattr("spikeformers.compare.base_recipe", stopped(base_recipe))

    trained = {}  # by run folder: the words of the command that the document has for it

    def parse(command, words):
        if command == "train":
            name, *words = [word for word in words if word != "--resume"]
            if name == "--like":
                name, *words = trained[words[0]] + words[1:]
            recipe = read_recipe(name, words)
            trained[f"runs/{recipe.run or name}"] = [name, *words]
            return
        with pytest.raises(Parsed):
            import_module(f"spikeformers.cli.{command.replace('-', '_')}").run(words)

    return parse


@pytest.mark.parametrize("document", [d for d in DOCUMENTS if blocks(d, "bash")], ids=lambda d: d.name)
def test_commands_take_their_words(document, parse):
    for line in "".join(blocks(document, "bash")).replace("\\\n", "").splitlines():
        program, command, *words = shlex.split(line, comments=True)
        assert program in ("make", "spikeformers"), line
        if program == "make":
            assert f"\n{command}:" in (ROOT / "Makefile").read_text(), line
        else:
            assert command in COMMANDS, line
            parse(command, words)


def test_the_candidates_of_the_study_have_its_parameters():
    study = ROOT / "docs" / "studies" / "cifar10-evening"
    candidates = runpy.run_path(str(study / "candidates.py"))
    rows = re.findall(r"^\| ([A-Z])\b[^|]*\| ([\d.]+) M \|", study.with_suffix(".md").read_text(), re.MULTILINE)
    assert {design for design, _ in rows} >= {*"ABCDEFG"}
    for design, millions in rows:
        with torch.device("meta"):
            model = candidates["candidate"](design=design)
        assert f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f}" == millions, design
    with torch.device("meta"):
        chosen, recipe = candidates["candidate"](design="H"), sf.create_model(**read_recipe("cifar10_evening").model)
    assert chosen.state_dict().keys() == recipe.state_dict().keys()


def test_the_tables_of_models_are_the_packages_numbers():
    tables = runpy.run_path(str(ROOT / "docs" / "tables.py"))
    for document in tables["TABLES"]:
        assert document.read_text() == tables["renewed"](document), f"{document.name} is out of date: make docs"


def test_every_family_and_every_size_has_its_row():
    readme, models = ((ROOT / name).read_text() for name in ("README.md", "docs/models.md"))
    families = re.findall(r"^\| .+ \| \[\w+\]\(spikeformers/models/(\w+)\.py\) \|$", readme, re.MULTILINE)
    assert sorted(families) == sorted(name for name in list_families() if not name.endswith("_mae"))
    assert sorted(re.findall(r"^\| `(\w+)` ", models, re.MULTILINE)) == sorted(list_models())
    row = "| `spikformer_4_384_cifar10` | 9,324,730 | 4 | 3 x 32 x 32 | 95.19 % CIFAR-10 |"
    assert f"\n{row}\n" in models


def test_links_lead_somewhere():
    for document in DOCUMENTS:
        for target in re.findall(r"\]\((?!https?://)([^)#]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_files_that_contributors_are_sent_to_are_there():
    named = set(re.findall(r"`([\w/]+\.(?:py|md|toml))`", (ROOT / "CONTRIBUTING.md").read_text()))
    files = {name for name in named if "NAME" not in name and "/" in name}
    assert len(files) >= 8
    assert not [name for name in files if not (ROOT / name).is_file() and not (ROOT / "spikeformers" / name).is_file()]
    for document in DOCUMENTS:
        for name in re.findall(r"`((?:spikeformers|tests|docs|benchmarks)/[\w./-]+\.\w+)`", document.read_text()):
            assert (ROOT / name).is_file(), f"{document.name}: {name}"


def test_every_row_of_the_five_errands_is_in_its_document():
    for page, sign, names in (
        ("energy.md", "\n**`{}`**: ", CONVENTIONS),
        ("training.md", "`{}`", SETS),
        ("deploy.md", "\n| `{}` | `", FORMATS),
    ):
        text = (ROOT / "docs" / page).read_text()
        assert not [name for name in names if sign.format(name) not in text], page


def test_versions_agree():
    assert f"version: {sf.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"## {sf.__version__} " in (ROOT / "CHANGELOG.md").read_text()


def test_torchrun_leaves_our_words_alone():
    """Its own parser takes what it knows out of a command line, and refuses what it half knows, such as --run."""
    from torch.distributed.run import get_args_parser

    text = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [shlex.split(line) for line in text.splitlines() if line.startswith("torchrun ")]
    assert len(lines) == 2
    for _, *words in lines:
        asked = get_args_parser().parse_args(words)
        assert asked.training_script == "spikeformers"
        command, recipe, *rest = asked.training_script_args
        assert (command, rest) == ("train", words[words.index(recipe) + 1 :])
        assert read_recipe(recipe, [word for word in rest if word != "--resume"])


def test_the_readme_is_short_and_its_picture_is_small():
    prose = re.sub(r"^\|.*\n", "", (ROOT / "README.md").read_text(), flags=re.MULTILINE)  # tables grow by the families
    assert len(prose.splitlines()) <= 83
    assert (ROOT / "docs" / "figures" / "analyze.png").stat().st_size < 200_000


def test_every_package_has_its_page_in_the_reference_and_every_page_a_place_on_the_site():
    pages = {page.stem for page in (ROOT / "docs" / "reference").glob("*.md")}
    packages = {
        file.parent.name for file in (ROOT / "spikeformers").glob("*/__init__.py") if "__all__" in file.read_text()
    }
    assert pages == {"spikeformers", *packages - {"cli", "timm", "layers", "ops"}}
    site = (ROOT / "mkdocs.yml").read_text()
    for page in (page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")):
        assert page.endswith("/report.md") or f": {page}\n" in site, f"{page} has no place in mkdocs.yml"


def test_accuracies_and_times_of_the_digits_stand_in_one_place():
    """A figure that was measured is told by docs/results.md, with its machine; other pages refer to it."""
    results = (ROOT / "docs" / "results.md").read_text()
    section = results[results.index("## Digits") : results.index("## Fashion-MNIST")]
    figures = {*re.findall(r"\b\d+\.\d+ %|\b\d+ s\b", section)}
    assert {"98.89 %", "99.16 %", "111 s"} <= figures
    for document in (d for d in DOCUMENTS if d.name not in ("results.md", "report.md")):
        text = re.sub(r"<!-- from docs/tables.py -->.*?<!-- end -->", "", document.read_text(), flags=re.DOTALL)
        told = [figure for figure in figures if re.search(rf"(?<![\d.]){re.escape(figure)}(?!\w)", text)]
        assert not told, f"{document.name} repeats {told}: docs/results.md has them"
