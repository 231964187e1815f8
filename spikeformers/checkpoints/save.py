"""Writing a model: to a file, to a folder that explains itself, to the Hugging Face Hub."""

import json
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from safetensors.torch import save_file
from torch import nn

from spikeformers.checkpoints.card import model_card
from spikeformers.checkpoints.hub import is_repository, upload
from spikeformers.checkpoints.load import build_from
from spikeformers.checkpoints.read import METADATA, WEIGHTS, read_checkpoint
from spikeformers.files import atomic_path
from spikeformers.models.network import SpikingTransformer

# The other files of a folder, and what tells ours from another's of the same name.
_CARD, _CONFIG = "README.md", "config.json"
_MARKS = {_CARD: "\nlibrary_name: spikeformers\n", _CONFIG: '{\n  "config": {'}


def save_pretrained(model: nn.Module, path: str | Path, **settings: Any) -> Path:
    """Writes a model's weights and `config`, with any further settings, as safetensors; returns that file.

    `path` is a `.safetensors` file or a folder, which gets `weights.safetensors`, its settings once more as
    `config.json`, and a model card, `README.md`: with that it is a repository for the Hub. The card shows of the
    settings `test`, `recipe`, `preprocess`, `license` (the weights') and `energy_mj` (millijoules an image).
    No file is ever half-written, and a folder without weights is no model. Of a model in a wrapper, such as
    DataParallel's or torch.compile's, what is inside is written.

    Raises ValueError for what is no model of ours, and for a folder with a README.md or config.json of someone else's.
    """
    return _save(_bare(model), Path(path), settings)


def push_to_hub(
    model: nn.Module | str | Path, repo: str, *, private: bool = False, message: str = "", **settings: Any
) -> str:
    """Publishes a model, as `save_pretrained` writes it, on the Hugging Face Hub; returns the repository's address.

        push_to_hub("runs/digits", "you/spikformer-digits", license="mit")

    `model` is a model, or a run folder or file of one, whose settings go along: they will be public. `repo` is
    `owner/name`, made if need be, `private` if so; `message` is the commit's. Log in by `hf auth login`, once.

    Raises ValueError for a name that is none, what `from_pretrained` raises for a folder, and ConnectionError, in one
    line, where the Hub cannot be reached or refuses.
    """
    if not is_repository(repo):
        raise ValueError(f"{repo!r} is not the name of a repository: write owner/name")
    if isinstance(model, str | Path):
        checkpoint = read_checkpoint(model)
        model, settings = build_from(checkpoint), {**checkpoint.settings, **settings}
    model = _bare(model)
    with TemporaryDirectory() as folder:
        _save(model, Path(folder), settings, repo)
        return upload(Path(folder), repo, private=private, message=message or f"Upload {model.config.get('name')}")


def _bare(model: nn.Module) -> SpikingTransformer:
    """The model inside DataParallel, torch.compile and their kin. Raises ValueError where there is none."""
    while isinstance(inside := getattr(model, "_orig_mod", getattr(model, "module", None)), nn.Module):
        model = inside
    if not isinstance(model, SpikingTransformer):
        raise ValueError(f"a {type(model).__name__} is no model of spikeformers: give a SpikingTransformer")
    return model


def _save(model: SpikingTransformer, path: Path, settings: dict[str, Any], repo: str = "") -> Path:
    settings = {"config": model.config, **settings}
    texts = {}
    if path.suffix != ".safetensors":
        texts = {_CARD: model_card(model, settings, repo), _CONFIG: json.dumps(settings, indent=2) + "\n"}
        path = path / WEIGHTS
    folder, is_new = path.parent, not path.parent.exists()
    for name in texts:
        if (file := folder / name).is_file() and _MARKS[name] not in file.read_text("utf-8", "replace"):
            raise ValueError(f"{file} is not of our making, and would be replaced: save to a folder of its own")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with ExitStack() as files:
            to = {name: files.enter_context(atomic_path(folder / name)) for name in (path.name, *texts)}  # weights last
            for name, text in texts.items():
                to[name].write_text(text, "utf-8")
            weights = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
            save_file(weights, to[path.name], {METADATA: json.dumps(settings)})
    except BaseException:
        if is_new:
            folder.rmdir()
        raise
    return path
