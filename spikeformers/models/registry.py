"""The registry of families, their sizes and the heads that go on them."""

import dataclasses
import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from spikeformers.models.network import SpikingTransformer
from spikeformers.models.on_backbone import DenseHead, dense_model, on_size
from spikeformers.models.parts import describe_part, part_name, slot_of

Builder = Callable[..., SpikingTransformer]
Renames = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Published:
    """Published results of a size: parameters in use, data set, top-1 accuracy in percent, paper."""

    parameters: int | None  # None where nobody counted them, as for detectors
    data: str
    top1: float | None  # None if the paper has none for this size
    paper: str


_UNPUBLISHED = Published(None, "", None, "")  # what `register` is told nothing of


@dataclass(frozen=True)
class Family:
    """A registered family.

    Attributes:
        builder: The function that builds its models.
        sizes: Arguments of the builder, by name of the size.
        published: Published results, by name of the size.
        renames: Pairs for `re.sub` that turn a released key into ours, in order, or a function from a config to them.
        dead_keys: Patterns of released keys that no forward pass uses.
        clues: Distinguish sizes with equal keys and shapes: a pattern for a key or file name, and one for the sizes
            that it suggests.
        unloadable: Patterns of keys in files that hold no model of the family, and what such a file is.
    """

    builder: Builder
    sizes: Mapping[str, Mapping[str, Any]]
    published: Mapping[str, Published] = field(default_factory=dict)
    renames: Renames | Callable[[Mapping[str, Any]], Renames] = ()
    dead_keys: Sequence[str] = ()
    clues: Mapping[str, str] = field(default_factory=dict)
    unloadable: Mapping[str, str] = field(default_factory=dict)


_FAMILIES: dict[str, Family] = {}
_HEADS: dict[str, DenseHead] = {}
TASKS = ("classification", "detection", "segmentation")


def register(
    builder: Builder,
    sizes: Mapping[str, Mapping[str, Any]],
    *,
    published: Mapping[str, Published] | None = None,
    renames: Renames | Callable[[Mapping[str, Any]], Renames] = (),
    dead_keys: Sequence[str] = (),
    clues: Mapping[str, str] | None = None,
    unloadable: Mapping[str, str] | None = None,
) -> None:
    """Registers a family for `create_model`, under the builder's name and those of its sizes.

    Args:
        builder: The function that builds its models.
        sizes: Arguments of the builder, by name of the size.
        published, renames, dead_keys, clues, unloadable: As in `Family`.

    Raises:
        ValueError: A name is taken.
    """
    name = builder.__name__
    for taken in {name, *sizes} & {*_FAMILIES, *list_models()}:
        raise ValueError(f"a model named {taken!r} is registered already: choose another name")
    _FAMILIES[name] = Family(builder, sizes, published or {}, renames, dead_keys, clues or {}, unloadable or {})


def register_head(head: DenseHead) -> None:
    """Registers a kind of detector or segmenter on every family of classifiers: `retinanet` as `retinanet_sdt_v3_5m`.

    Raises ValueError if the name is taken.
    """
    if (name := head.builder.__name__) in {*_HEADS, *_FAMILIES}:
        raise ValueError(f"a model named {name!r} is registered already: choose another name")
    _HEADS[name] = head


def list_models(pattern: str = "*", task: str = "classification") -> list[str]:
    """Lists registered sizes: `list_models("spikformer*cifar10")`, `list_models("sdt_v3", "detection")`.

    Args:
        pattern: A shell pattern, or a word that names contain.
        task: "classification", "detection" or "segmentation".

    Returns:
        The matching names.

    Raises:
        ValueError: There is no such task.
    """
    if task not in TASKS:
        raise ValueError(f"there is no task {task!r}: choose one of {', '.join(TASKS)}")
    families = [*_FAMILIES.values()]
    if task != "classification":
        heads = [name for name, head in _HEADS.items() if head.task == task]
        families = [on for head in heads for name in _FAMILIES if (on := _on_family(head, name))]
    return [name for family in families for name in family.sizes if matches(name, pattern)]


def task_of(name: str) -> str:
    """The task of a size or builder name: "classification" unless it begins with that of a registered head."""
    head = next((head for prefix, head in _HEADS.items() if name.startswith(f"{prefix}_")), None)
    return head.task if head and name not in list_models() else "classification"


def _on_family(head_name: str, family_name: str) -> Family | None:
    """The family of a head's models on a family of classifiers; None for one of no classes, as for pre-training."""
    head, family = _HEADS[head_name], _FAMILIES[family_name]
    parameters = inspect.signature(family.builder).parameters
    if not {"neuron", "image_size"} <= {*parameters} or not parameters["num_classes"].default:
        return None
    return dataclasses.replace(
        family,
        builder=dense_model(head, family.builder),
        sizes={f"{head_name}_{name}": on_size(head, size) for name, size in family.sizes.items()},
        published={
            f"{head_name}_{name}": Published(None, "", None, size.paper) for name, size in family.published.items()
        },
        clues={},
    )


def list_families() -> list[str]:
    """Lists registered families.

    Returns:
        The names of the builders, equal to those of their files.
    """
    return list(_FAMILIES)


def find_family(name: str) -> Family:
    """The family of a size or builder name. Raises ValueError, with close matches, for an unknown name."""
    for builder_name, family in _FAMILIES.items():
        if name == builder_name or name in family.sizes:
            return family
        for head in _HEADS:
            wanted = name.removeprefix(f"{head}_") in (builder_name, *family.sizes)
            if wanted and (on := _on_family(head, builder_name)):
                return on
    known = [*(size for task in TASKS for size in list_models(task=task)), *_FAMILIES]
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(close)}?" if close else "`spikeformers list` shows them all."
    raise ValueError(f"there is no model {name!r}: {hint} Give your own as file.py:builder")


def describe_model(name: str) -> dict[str, Any]:
    """Describes a size, without building it.

    Args:
        name: A size.

    Returns:
        Its name, task, steps, channels, image size and classes, and the fields of `Published`; None for what the
        builder does not take or `register` was not told.

    Raises:
        ValueError: The name is unknown or a family's.
    """
    family = find_family(name)
    if name not in family.sizes:
        raise ValueError(f"{name} is a family, not a size: choose one of {', '.join(list(family.sizes)[:3])}, ...")
    defaults = {key: p.default for key, p in inspect.signature(family.builder).parameters.items()}
    arguments = {**defaults, **family.sizes[name]}
    numbers = {key: arguments.get(key) for key in ("time_steps", "in_channels", "image_size", "num_classes")}
    return {"name": name, "task": task_of(name), **numbers, **vars(family.published.get(name, _UNPUBLISHED))}


def describe_family(name: str) -> dict[str, Any]:
    """Describes a family, without building a model.

    Args:
        name: A family or one of its sizes.

    Returns:
        `title` and `difference`, from the first line of its file; `parts`, the names in each slot, defaults first;
        `top1`, the best published accuracy in percent per data set; also name, file, sizes, parameters and papers.

    Raises:
        ValueError: The name is unknown.
    """
    family = find_family(name)
    published = list(family.published.values())
    module = inspect.getmodule(family.builder)
    title, _, difference = (inspect.getdoc(module) or "").partition("\n")[0].partition(": ")
    if task_of(name) != "classification":
        kind = inspect.getdoc(inspect.getmodule(inspect.unwrap(family.builder))) or ""
        title = f"{kind.partition(' on ')[0]} on {title}"
    defaults = {key: p.default for key, p in inspect.signature(family.builder).parameters.items()}
    parts: dict[str, list[str]] = {}
    for key, value in [*defaults.items(), *(item for size in family.sizes.values() for item in size.items())]:
        if slot := slot_of(key):
            names = parts.setdefault(slot, [])
            names += {part_name(describe_part(slot, value))} - {*names}
    top1: dict[str, float] = {}
    for size in published:
        if size.top1 is not None:
            data = size.data.partition(",")[0]
            top1[data] = max(size.top1, top1.get(data, 0.0))
    return {
        "name": family.builder.__name__,
        "file": module and module.__file__,
        "title": title or family.builder.__name__,
        "difference": difference,
        "parts": parts,
        "sizes": list(family.sizes),
        "parameters": sorted(size.parameters for size in published if size.parameters),
        "top1": top1,
        "papers": list(dict.fromkeys(size.paper for size in published)),
    }


def matches(name: str, pattern: str) -> bool:
    """Whether a name fits a shell pattern, or has a word in it."""
    from fnmatch import fnmatchcase

    return fnmatchcase(name, pattern) if any(c in pattern for c in "*?[") else pattern in name
