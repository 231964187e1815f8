"""Who imports whom, read from the source."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import spikeformers
from spikeformers.cli import COMMANDS

PACKAGE = Path(__file__).parents[1] / "spikeformers"
FILES = sorted(PACKAGE.rglob("*.py"))

MODEL_SIDE = {"ops", "neurons", "layers", "models", "checkpoints"}
MAY_IMPORT = {
    "ops": {"ops"},
    "neurons": {"ops", "neurons"},
    "layers": {"ops", "neurons", "layers"},  # neurons arrive as arguments; neurons: one that a paper prescribes
    "models": {"ops", "neurons", "layers", "models"},
    "checkpoints": {*MODEL_SIDE, "data"},  # data: what the Hub calls known sets
    "analysis": {*MODEL_SIDE, "analysis", "deploy"},  # deploy: an engine is timed beside the model
    "deploy": {*MODEL_SIDE, "deploy", "data"},  # data: a model in use sees its inputs as in training
    "timm": {*MODEL_SIDE, "timm", "data"},  # data: what images are normalised by
    "data": {"data"},
    "recipes": {"recipes"},
    "evaluation": {*MODEL_SIDE, "data", "analysis", "deploy", "evaluation"},  # deploy: engines are evaluated too
    "training": {*MODEL_SIDE, "data", "recipes", "analysis", "evaluation", "training"},
    "compare": {*MODEL_SIDE, "data", "recipes", "analysis", "evaluation", "training", "compare"},
}
EVERYONES = {"files", "lazy", "memory"}  # import nothing of ours
FREE = {"__init__", "cli", "__main__"}
HEAVY = {
    "lightning", "pytorch_lightning", "timm", "torchvision", "matplotlib", "triton", "sklearn", "spikingjelly", "rich",
    "jsonargparse", "onnx", "evlib", "huggingface_hub", "nir", "fastapi", "uvicorn",
}  # fmt: skip


def imports(path):
    """Dotted names of all that a file imports, at the top or inside a function."""
    package = ("spikeformers", *path.relative_to(PACKAGE).parent.parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_arrows(path):
    inside = path.relative_to(PACKAGE).with_suffix("").parts
    ours = {name.split(".")[1] for name in imports(path) if name.startswith("spikeformers.")}
    if inside[0] in EVERYONES:
        assert not ours
    elif inside[0] not in FREE:
        assert ours <= MAY_IMPORT[inside[0]] | EVERYONES | {"__version__"}
    if "triton" in {name.split(".")[0] for name in imports(path)}:
        assert (inside[0], inside[-1]) == ("ops", "triton")
    assert inside[-1] not in {"utils", "common", "helpers", "misc"}


NAMED = {"PIL": "pillow", "sklearn": "scikit-learn", "yaml": "pyyaml"}  # what pip calls them
WITH = {"markupsafe": "jinja2", "starlette": "fastapi", "triton": "torch"}  # what they come with


def test_every_library_that_is_imported_is_declared_with_its_oldest_release():
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    declared = {re.match(r"[\w-]+", line)[0]: ">=" in line for line in lines if not line.startswith("spikeformers")}
    used = {name.split(".")[0] for path in FILES for name in imports(path)} - {"spikeformers", *sys.stdlib_module_names}
    assert {"PIL", "torch", "evlib"} <= used
    assert {WITH.get(name, NAMED.get(name, name)) for name in used} <= declared.keys()
    assert all(declared.values())


def modules_imported(path):
    """Files of ours that a file imports at its top or inside a function, and not only for its types."""
    tree = ast.parse(path.read_text())
    for_types = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for node in ast.walk(block)
    }
    package = ("spikeformers", *path.relative_to(PACKAGE).parent.parts)
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or id(node) in for_types:
            continue
        above = package[: len(package) - node.level + 1] if node.level else ()
        base = PACKAGE.parent.joinpath(*above, *(node.module or "").split("."))
        for alias in node.names:
            for file in (base / f"{alias.name}.py", base.with_name(f"{base.name}.py")):
                if file.is_file():
                    yield file
                    break


def test_no_circles():
    graph = {path: set(modules_imported(path)) for path in FILES if path.name != "__init__.py"}
    assert sum(map(len, graph.values())) > 300  # it sees the arrows
    while leaves := [path for path, needs in graph.items() if not needs & graph.keys()]:
        for leaf in leaves:
            del graph[leaf]
    assert not graph, sorted(str(path.relative_to(PACKAGE)) for path in graph)


def modules_after(statement):
    listing = f"import sys\n{statement}\nprint('loaded:', *{{name.split('.')[0] for name in sys.modules}})"
    run = subprocess.run(
        [sys.executable, "-c", listing], cwd=PACKAGE.parent, capture_output=True, text=True, check=True
    )
    return set(run.stdout.rpartition("loaded:")[2].split())


def test_importing_the_package_is_light():
    loaded = modules_after("import spikeformers\ndir(spikeformers)")
    assert "spikeformers" in loaded
    assert loaded & {*HEAVY, "torch", "numpy"} == set()


def test_the_first_use_of_a_model_is_light():
    loaded = modules_after("import spikeformers\nspikeformers.create_model('spikformer_2_256_cifar10dvs')")
    assert "torch" in loaded
    assert loaded & HEAVY == set()


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "train"])  # whose help lists the known sets
def test_help_imports_no_torch(command):
    loaded = modules_after(
        f"from spikeformers.cli import main\ntry: main([{command!r}, '--help'])\nexcept SystemExit: pass"
    )
    assert "torch" not in loaded


def test_every_public_name_can_be_had():
    for name in spikeformers.__all__:
        assert getattr(spikeformers, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'create_modell'"):
        spikeformers.create_modell  # noqa: B018


def test_little_is_kept_from_the_type_checker():
    tree = [
        path
        for room in ("spikeformers", "tests", "benchmarks", "docs")
        for path in (PACKAGE.parent / room).rglob("*.py")
    ]
    assert sum(path.read_text().count("# pyright: " + "ignore") for path in tree) <= 20
