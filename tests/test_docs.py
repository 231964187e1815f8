"""What the documents say, run: every Python block, every command's words, and the table of models."""

import re
import shlex
from pathlib import Path

import pytest

import spikeformers as sf
from spikeformers.models import describe_model, list_models
from spikeformers.training import read_recipe

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", document.read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("document", [d for d in DOCUMENTS if blocks(d, "python")], ids=lambda d: d.name)
def test_python_blocks_run_top_to_bottom(document, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for block in blocks(document, "python"):
        exec(compile(block, document.name, "exec"), names)


@pytest.mark.parametrize("document", [d for d in DOCUMENTS if blocks(d, "bash")], ids=lambda d: d.name)
def test_commands_exist_and_their_recipes_parse(document):
    for line in "".join(blocks(document, "bash")).splitlines():
        program, command, *words = [*shlex.split(line), ""]
        assert program in ("make", "spikeformers"), line
        if program == "make":
            assert f"\n{command}:" in (ROOT / "Makefile").read_text(), line
        elif command == "train":
            name, *words = [word for word in words if word not in ("", "--resume")]
            read_recipe(name, words)
        else:
            assert command in ("list", "info", "recipes", "eval", "predict", "identify"), line


def test_the_readme_lists_every_model_with_the_numbers_of_the_package():
    lines = (ROOT / "README.md").read_text().splitlines()
    rows = [line for line in lines if line.startswith("| `") and "arXiv" in line]
    assert rows == [model_row(name) for name in list_models()] and rows


def model_row(name: str) -> str:
    says = describe_model(name)
    size = f"{says['in_channels']} x {says['image_size']} x {says['image_size']}"
    top1 = "-" if says["top1"] is None else f"{says['top1']:.2f} % {says['data']}"
    return f"| `{name}` | {says['parameters']:,} | {says['time_steps']} | {size} | {top1} | {says['paper']} |"


def test_links_lead_somewhere():
    for document in DOCUMENTS:
        for target in re.findall(r"\]\((?!https?://)([^)#]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_versions_agree():
    assert f"version: {sf.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"## {sf.__version__} " in (ROOT / "CHANGELOG.md").read_text()
