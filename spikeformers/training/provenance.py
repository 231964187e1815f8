"""What a run was made with, so that it can be made again: command, versions, git commit; and making it again."""

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
from spikeformers.models.parts import own_files
from spikeformers.training.recipe import Recipe
from spikeformers.training.recipe_file import read_recipe

logger = logging.getLogger("spikeformers")

COMPARISON = "prices.json"  # what a comparison's folder is known by
_COMPARED = ("python", "spikeformers", "torch", "lightning", "timm", "torchvision", "numpy")


def describe_start(recipe: Recipe) -> dict[str, Any]:
    """Command, seed, time, machine, git commits (null outside a repository), versions of all installed packages, and
    a digest of each file that the model takes parts from.
    """
    return {
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "seed": recipe.seed,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "git": {"here": _git(Path.cwd()), "spikeformers": _git(Path(__file__).parent)},
        "files": digests(recipe.model),
        "packages": dict(sorted((one.name.lower(), one.version) for one in distributions())),
    }


def note_start(folder: Path, recipe: Recipe, data: str) -> None:
    """Adds this start, with a digest of its `data`, to the run's `provenance.json`: a run that was resumed has several.

    The number of the folder on its disk goes along, by which `made_here` knows it again.
    """
    start = {**describe_start(recipe), "data": data, "folder": folder.stat().st_ino}
    atomic_write(folder / FILE, json.dumps([*starts(folder), start], indent=2) + "\n")


def digests(model: Mapping[str, Any]) -> dict[str, str]:
    """What the files say that a model's settings take parts from, in 16 letters each."""
    files = [file for file in sorted(own_files(dict(model))) if file.is_file()]
    return {str(file): digest_of_file(file) for file in files}


def changed_files(folder: Path, recipe: Recipe) -> list[str]:
    """Files that a run takes parts from, and that are not what they were when it was last started."""
    then = last_start(folder).get("files", {})
    now = digests(recipe.model)
    return [file for file, digest in then.items() if now.get(file) != digest]


def like(run: str | Path, overrides: Mapping[str, Any] | Sequence[str] = ()) -> Recipe:
    """The recipe of an earlier run, to run it again under another name, `<name>-again` if not given.

    One of a comparison's goes beside the comparison, and not into it, unless `out` is given. Warns of what is not as it
    was then: versions and git commits.

    Raises FileNotFoundError for a folder that is no run's, and what `read_recipe` raises.
    """
    folder = Path(run)
    if not (folder / "settings.yaml").is_file():
        raise FileNotFoundError(f"{folder} is no run folder: it has no settings.yaml")
    began = read_recipe(str(folder / "settings.yaml"))
    recipe = read_recipe(str(folder / "settings.yaml"), overrides)
    if recipe.run == folder.name:
        recipe.run = f"{folder.name}-again"
    if recipe.out == began.out and (Path(recipe.out) / COMPARISON).is_file():
        recipe.out = str(Path(recipe.out).parent)
        if recipe.trainer.get("enable_progress_bar") == began.trainer.get("enable_progress_bar"):
            recipe.trainer.pop("enable_progress_bar", None)  # which a comparison turns off for a table of its own
    if then := last_start(folder):
        now = describe_start(recipe)
        for what, was, is_now in _differences(then, now):
            logger.warning("%s was %s, and is %s", what, was, is_now)
    return recipe


def _differences(then: dict[str, Any], now: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    versions = [{"python": start["python"], **start["packages"]} for start in (then, now)]
    pairs = [(name, versions[0].get(name), versions[1].get(name)) for name in _COMPARED]
    pairs += [(file, then.get("files", {}).get(file), digest) for file, digest in now["files"].items()]
    pairs += [(f"the git commit of {where}", then["git"][where], commit) for where, commit in now["git"].items()]
    return [pair for pair in pairs if pair[1] != pair[2]]


def _git(folder: Path) -> str | None:
    """The commit of the repository that a folder is in, with "+" where files differ from it."""
    if "site-packages" in folder.parts:
        return None  # the repository around an environment is not the package's

    def ask(*words: str) -> str:
        call = ["git", "-C", str(folder), *words]
        return subprocess.run(call, capture_output=True, text=True, timeout=20, check=True).stdout

    try:
        return ask("rev-parse", "HEAD").strip() + ("+" if ask("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None
