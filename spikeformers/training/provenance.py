"""Recording how a run was started (command, versions, git commits), and starting it again from that record."""

import json
import logging
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import torch

from spikeformers.checkpoints.made_here import FILE, digest_of_file, last_start, starts
from spikeformers.files import atomic_write
from spikeformers.models.own_code import own_files
from spikeformers.training.precision import precision_here
from spikeformers.training.recipe import Recipe
from spikeformers.training.recipe_file import read_recipe

logger = logging.getLogger("spikeformers")

COMPARISON = "prices.json"  # marks a comparison's folder
_COMPARED = ("python", "spikeformers", "torch", "lightning", "timm", "torchvision", "numpy")


def describe_start(recipe: Recipe) -> dict[str, Any]:
    """Command, seed, time, precision, machine, git commits (null outside a repository), the versions of all installed
    packages, and a digest of each file that defines a part of the model.
    """
    return {
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "seed": recipe.seed,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "precision": precision_here(recipe),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "git": {"here": _git(Path.cwd()), "spikeformers": _git(Path(__file__).parent)},
        "files": digests(recipe.model),
        "packages": dict(sorted((one.name.lower(), one.version) for one in distributions() if one.name)),
    }


def note_start(folder: Path, recipe: Recipe, data: str) -> None:
    """Appends this start, with the digest of its `data`, to the run's `provenance.json`.

    The folder's inode number is stored too, by which `made_here` recognises the folder.
    """
    start = {**describe_start(recipe), "data": data, "folder": folder.stat().st_ino}
    atomic_write(folder / FILE, json.dumps([*starts(folder), start], indent=2) + "\n")


def digests(model: Mapping[str, Any]) -> dict[str, str]:
    """A digest, 16 letters, of each file that a model's settings take parts from."""
    files = [file for file in sorted(own_files(dict(model))) if file.is_file()]
    return {str(file): digest_of_file(file) for file in files}


def changed_files(folder: Path, recipe: Recipe) -> list[str]:
    """Files that define parts of the model and have changed since the run was last started."""
    then = last_start(folder).get("files", {})
    now = digests(recipe.model)
    return [file for file, digest in then.items() if now.get(file) != digest]


def like(run: str | Path, overrides: Mapping[str, Any] | Sequence[str] = ()) -> Recipe:
    """The recipe of an earlier run, to repeat it under another name, `<name>-again` by default.

    A run of a comparison is repeated beside the comparison's folder, not inside it, unless `out` is given. Warns about
    package versions, files and git commits that have changed since.

    Raises FileNotFoundError if the folder is not a run's, and what `read_recipe` raises.
    """
    folder = Path(run)
    if not (folder / "settings.yaml").is_file():
        raise FileNotFoundError(f"{folder} is not a run folder: it has no settings.yaml")
    began = read_recipe(str(folder / "settings.yaml"))
    recipe = read_recipe(str(folder / "settings.yaml"), overrides)
    if recipe.run == folder.name:
        recipe.run = f"{folder.name}-again"
    if recipe.out == began.out and (Path(recipe.out) / COMPARISON).is_file():
        recipe.out = str(Path(recipe.out).parent)
        if recipe.trainer.get("enable_progress_bar") == began.trainer.get("enable_progress_bar"):
            recipe.trainer.pop("enable_progress_bar", None)  # a comparison turns it off for its own table
    if then := last_start(folder):
        now = describe_start(recipe)
        if recipe.model == began.model:  # of a part named package.module:Name, a file that is not imported yet
            there = (file for file in then.get("files", {}) if Path(file).is_file())
            now["files"] = {file: digest_of_file(Path(file)) for file in there} | now["files"]
        for what, was, is_now in _differences(then, now):
            logger.warning("%s was %s then and is %s now", what, was, is_now)
    return recipe


def _differences(then: dict[str, Any], now: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    versions = [{"python": start["python"], **start["packages"]} for start in (then, now)]
    pairs = [(name, versions[0].get(name), versions[1].get(name)) for name in _COMPARED]
    pairs += [("the precision", then.get("precision", now["precision"]), now["precision"])]
    pairs += [(file, then.get("files", {}).get(file), digest) for file, digest in now["files"].items()]
    pairs += [(f"the git commit of {where}", then["git"][where], commit) for where, commit in now["git"].items()]
    return [pair for pair in pairs if pair[1] != pair[2]]


def _git(folder: Path) -> str | None:
    """The commit of the repository around a folder, with "+" if tracked files differ from it."""
    if "site-packages" in folder.parts:
        return None  # a repository around the virtual environment is not the package's

    def ask(*words: str) -> str:
        call = ["git", "-C", str(folder), *words]
        return subprocess.run(call, capture_output=True, text=True, timeout=20, check=True).stdout

    try:
        return ask("rev-parse", "HEAD").strip() + ("+" if ask("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None
