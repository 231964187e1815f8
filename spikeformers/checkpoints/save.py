"""Save a model: to a file, to a folder with a model card, to the Hugging Face Hub."""

import json
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn

from spikeformers.checkpoints.card import model_card
from spikeformers.checkpoints.hub import is_repository, upload
from spikeformers.checkpoints.load import build_from
from spikeformers.checkpoints.read import METADATA, WEIGHTS, check_settings, read_checkpoint
from spikeformers.data.hugging_face import PREFIX
from spikeformers.data.known import SETS
from spikeformers.files import atomic_path
from spikeformers.models.network import SpikingTransformer

# The other files of a folder, and a text in each that marks it as written here.
_CARD, _CONFIG = "README.md", "config.json"
_MARKS = {_CARD: "\nlibrary_name: spikeformers\n", _CONFIG: '{\n  "config": {'}


def save_pretrained(model: nn.Module, path: str | Path, **settings: Any) -> Path:
    """Saves a model's weights, `config` and further settings as safetensors. Files are replaced whole or not at all.

    Args:
        model: The model; DataParallel, torch.compile and the like are unwrapped.
        path: A `.safetensors` file, or a folder, which gets `weights.safetensors`, `config.json` and a model card,
            `README.md`: a complete Hub repository.
        **settings: Saved with the weights. `classes` are the names that `predict` prints. The card shows `test`,
            `recipe`, `preprocess`, `license` (of the weights) and `energy_mj` (millijoules per image).

    Returns:
        The path of the weights.

    Raises:
        ValueError: `model` is not a SpikingTransformer, `classes` are not as many as the model's, or the folder has
            another README.md or config.json.
    """
    return _save(_bare(model), Path(path), settings)


def push_to_hub(
    model: nn.Module | str | Path, repo: str, *, private: bool = False, message: str = "", **settings: Any
) -> str:
    """Publishes a model on the Hugging Face Hub, as `save_pretrained` writes it. Log in once: `hf auth login`.

        push_to_hub("runs/digits", "you/spikformer-digits", license="mit")

    Args:
        model: A model, or a run folder or weight file, whose settings are published too.
        repo: `owner/name`, created if missing.
        private: Whether a new repository is private.
        message: The commit message.
        **settings: As in `save_pretrained`; they replace a file's.

    Returns:
        The URL of the repository.

    Raises:
        ValueError: `repo` is not `owner/name`, or what `from_pretrained` raises for a file.
        FileNotFoundError: There is no such file.
        ConnectionError: The Hub cannot be reached or refuses.
    """
    if not is_repository(repo):
        raise ValueError(f"{repo!r} is not a repository name: write owner/name")
    if isinstance(model, str | Path):
        checkpoint = read_checkpoint(model)
        model, settings = build_from(checkpoint), {**checkpoint.settings, **settings}
    model = _bare(model)
    with TemporaryDirectory() as folder:
        _save(model, Path(folder), settings, repo)
        return upload(Path(folder), repo, private=private, message=message or f"Upload {model.config.get('name')}")


def _bare(model: nn.Module) -> SpikingTransformer:
    """The model inside DataParallel, torch.compile and the like. Raises ValueError if there is none."""
    while isinstance(inside := getattr(model, "_orig_mod", getattr(model, "module", None)), nn.Module):
        model = inside
    if not isinstance(model, SpikingTransformer):
        raise ValueError(f"a {type(model).__name__} is not a spikeformers model: give a SpikingTransformer")
    return model


def _save(model: SpikingTransformer, path: Path, settings: dict[str, Any], repo: str = "") -> Path:
    settings = {"config": model.config, **settings}
    if repo:
        settings = public(settings)
    said = {name: value for name, value in json.loads(json.dumps(settings)).items() if value is not None}
    try:
        check_settings(said)
    except ValueError as error:
        raise ValueError(f"{error}: it could not be read again") from error
    if (classes := settings.get("classes")) and len(classes) != model.num_classes > 0:  # pre-training has no head
        raise ValueError(f"classes names {len(classes)}, but the model has {model.num_classes}: name each class once")
    texts = {}
    if path.suffix != ".safetensors":
        texts = {_CARD: model_card(model, settings, repo), _CONFIG: json.dumps(settings, indent=2) + "\n"}
        path = path / WEIGHTS
    folder, is_new = path.parent, not path.parent.exists()
    for name in texts:
        if (file := folder / name).is_file() and _MARKS[name] not in file.read_text("utf-8", "replace"):
            raise ValueError(f"{file} was not written by spikeformers and would be replaced: save to another folder")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with ExitStack() as files:
            to = {name: files.enter_context(atomic_path(folder / name)) for name in (path.name, *texts)}  # weights last
            for name, text in texts.items():
                to[name].write_text(text, "utf-8")
            save_file(_apart(model.state_dict()), to[path.name], {METADATA: json.dumps(settings)})
    except BaseException:
        if is_new:
            folder.rmdir()
        raise
    return path


def _apart(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights as safetensors takes them: on the CPU, contiguous, and copied where modules share them."""
    weights, seen = {}, set()
    for key, value in state.items():
        value = value.detach().cpu().contiguous()
        place = value.untyped_storage().data_ptr()
        weights[key] = value.clone() if place in seen else value
        seen.add(place)
    return weights


def public(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings without the places of a recipe's data, runs and teacher, and of files with a user's own parts.

    They are of one machine and may be private.
    """
    settings = {**settings, **{key: _bare_files(settings[key]) for key in ("config", "recipe") if key in settings}}
    recipe = settings.get("recipe")
    if not isinstance(recipe, dict):
        return settings
    recipe = {key: value for key, value in recipe.items() if key != "out"}
    if isinstance(start := recipe.get("start_from"), str):
        recipe["start_from"] = Path(start).name
    if isinstance(distill := recipe.get("distill"), dict) and isinstance(teacher := distill.get("teacher"), str):
        recipe["distill"] = {**distill, "teacher": Path(teacher).name}  # a name of timm is as it was
    if isinstance(data := recipe.get("data"), dict):
        recipe["data"] = {key: value for key, value in data.items() if key not in ("root", "cache")}
        if isinstance(name := data.get("name"), str) and name not in SETS and not name.startswith(PREFIX):
            recipe["data"]["name"] = Path(name).name
    return {**settings, "recipe": recipe}


def _bare_files(value: Any) -> Any:
    """A setting with `folder/file.py:Name` as `file.py:Name`."""
    if isinstance(value, dict):
        return {key: _bare_files(inside) for key, inside in value.items()}
    if isinstance(value, list | tuple):
        return [*map(_bare_files, value)]
    where, _, name = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    return f"{Path(where).name}:{name}" if where.endswith(".py") and name.isidentifier() else value
