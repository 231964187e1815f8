"""The model card: a Markdown description of a saved model, for people and for the Hugging Face Hub."""

import json
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any

import torch

from spikeformers.checkpoints.identify import spell
from spikeformers.data.known import SETS
from spikeformers.layers.contracts import declared
from spikeformers.models.building import build
from spikeformers.models.measure import MEASURES, Measure
from spikeformers.models.network import SpikingTransformer
from spikeformers.models.papers import PAPERS, Paper
from spikeformers.models.parts import part_name, slot_of
from spikeformers.models.registry import Published, describe_family, find_family

_PIPELINES = {  # what the Hub calls a task
    "classification": "image-classification",
    "detection": "object-detection",
    "segmentation": "image-segmentation",
}


def model_card(model: SpikingTransformer, settings: Mapping[str, Any], repo: str = "") -> str:
    """A model's README.md, with the Hub's YAML front matter. Unknown fields are omitted.

    `settings` are those of `save_pretrained`; `repo` is the target `owner/name`, or "".
    """
    name = model.config.get("name", "")
    title = name.rpartition(":")[2] or "A model"
    family = describe_family(name) if name and ":" not in name else None
    about = "{title}: {difference}".format(**family) if family else "A spiking transformer with a builder of its own."
    sections = [
        _front_matter(model, settings, family["name"] if family else title),
        f"# {title}\n\n{about}",
        _table(_facts(model, settings)),
        f"## Use\n\n{_use(model, repo or 'path/to/this/folder')}",
        *(["## Paper", *map(_citation, papers)] if (papers := _papers(name)) else []),
    ]
    return "\n\n".join(sections) + "\n"


def _front_matter(model: SpikingTransformer, settings: Mapping[str, Any], family: str) -> str:
    import yaml

    # A user's folder has no name on the Hub, and its path is private.
    dataset, measure = getattr(SETS.get(_data(settings) or ""), "hub", ""), MEASURES[model.task]
    fields = {
        "library_name": "spikeformers",
        "pipeline_tag": _PIPELINES[model.task] if model.num_classes else "image-feature-extraction",
        "tags": ["spiking-neural-network", "spiking-transformer", family],
        **({"license": settings["license"]} if settings.get("license") else {}),
        **({"datasets": [dataset]} if dataset else {}),
        **({"metrics": [measure.name]} if _measured(settings, measure) else {}),
    }
    return f"---\n{yaml.safe_dump(fields, sort_keys=False)}---"


def _facts(model: SpikingTransformer, settings: Mapping[str, Any]) -> dict[str, str]:
    """The rows of the card's table; unknown values are empty."""
    preprocess, published = settings.get("preprocess") or {}, _published(model)
    measure = MEASURES[model.task]
    parts = {key: part_name(value) for key, value in model.config.items() if slot_of(key)}
    return {
        "parameters": f"{sum(p.numel() for p in model.parameters()):,}",
        "time steps": str(model.time_steps),
        "input": " x ".join(map(str, model.image_shape)),
        "normalised by": ", ".join(
            f"{key} {_numbers(preprocess[key])}" for key in ("mean", "std") if key in preprocess
        ),
        "classes": str(model.num_classes or ""),
        "parts": ", ".join(f"{key} `{part}`" for key, part in parts.items()),
        f"{measure.name}, measured": _measured(settings, measure),
        "accuracy, published": f"{published.top1:.2f} % on {published.data}" if published else "",
        "energy per image": f"{settings['energy_mj']:.3g} mJ, estimated" if settings.get("energy_mj") else "",
        "licence": str(settings.get("license") or ""),
    }


def _numbers(values: Iterable[float]) -> str:
    return " ".join(f"{value:.4g}" for value in values)


def _table(rows: Mapping[str, str]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows.items() if value)])


def _measured(settings: Mapping[str, Any], measure: Measure) -> str:
    test = settings.get("test")
    if not isinstance(test, Mapping) or measure.field not in test:
        return ""
    images = f" of {test['images']:,} test images" if "images" in test else ""
    return f"{test[measure.field]:.2f} %{images}" + (f" of {data}" if (data := _data(settings)) else "")


def _data(settings: Mapping[str, Any]) -> str | None:
    """The name of the training set, if it is a public one."""
    value: Any = settings
    for key in ("recipe", "data", "name"):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, str) and value in SETS else None


def _published(model: SpikingTransformer) -> Published | None:
    """Published results of this exact model; None if any number or part except drop path differs from its size's."""
    name = model.config.get("name", "")
    published = _size(name)
    if published is None or published.top1 is None:
        return None
    with torch.device("meta"):
        config = build(name, {}).config
    drop_path = {"drop_path": model.config.get("drop_path")}
    return published if {**model.config, **drop_path} == {**config, **drop_path} else None


def _size(name: str) -> Published | None:
    return find_family(name).published.get(name) if name and ":" not in name else None


def _papers(name: str) -> list[Paper]:
    """The papers of the family and of the size, without duplicates."""
    if not name or ":" in name:
        return []
    size = _size(name)
    cited = [*describe_family(name)["papers"][:1], *([size.paper] if size else [])]
    return [PAPERS[paper] for paper in dict.fromkeys(cited) if paper in PAPERS]


def _citation(paper: Paper) -> str:
    return f"[{paper.title}]({paper.link}), {paper.venue} {paper.year}\n\n```bibtex\n{paper.bibtex}\n```"


def _use(model: SpikingTransformer, place: str) -> str:
    builder = model.config.get("name", "")
    foreign = {key: value for key, value in model.config.items() if slot_of(key) and _is_foreign(value)}
    bring = "".join(f", {key}={_spelt(key, value)}" for key, value in foreign.items())
    load = f'model = sf.from_pretrained("{place}"{bring})'
    note = f"{', '.join(f'`{key}`' for key in foreign)} is not part of spikeformers: import it.\n\n" if foreign else ""
    if ":" in builder:
        file = PurePath(builder.rpartition(":")[0]).name
        note = (
            f"Its builder, in `{file}`, is not part of spikeformers: get that file; `config` is in `config.json`.\n\n"
        )
        load = f'model = sf.create_model(**config, pretrained="{place}").eval()'
    elif not builder:
        note = "It was built by hand: build it again as `model`, in the same way.\n\n"
        load = f'sf.load_checkpoint(model, "{place}").eval()'
    shape = ", ".join(map(str, model.image_shape))
    out, made = {
        "classification": ("logits", f"[B, {model.num_classes}]")
        if model.num_classes
        else ("features", f"[B, {declared(model.head, 'dim')}]"),
        "detection": ("found", "B dicts of boxes, labels and scores"),
        "segmentation": ("logits", f"[B, {', '.join(map(str, (model.num_classes, *model.image_shape[1:])))}]"),
    }[model.task]
    call = f"{out} = model(images)  # [B, {shape}] or [T, B, {shape}] -> {made}"
    return f"{note}```python\nimport spikeformers as sf\n\n{load}\n{call}\n```"


def _is_foreign(spec: Any) -> bool:
    """Whether a part of a config, or one of its arguments, is user code."""
    if isinstance(spec, dict):
        return any(map(_is_foreign, spec.values()))
    return isinstance(spec, str) and ":" in spec


def _spelt(argument: str, spec: Any) -> str:
    """A part of a config as Python; user code by its bare name, to be imported."""
    if isinstance(spec, dict):
        return f"{{{', '.join(f'{json.dumps(key)}: {_spelt(key, value)}' for key, value in spec.items())}}}"
    is_part = argument == "part" or slot_of(argument)
    return part_name(spec) if is_part and _is_foreign(spec) else spell(spec)
