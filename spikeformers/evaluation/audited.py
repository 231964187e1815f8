"""Loading anyone's model for an audit, with inputs for it."""

import inspect
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from spikeformers.checkpoints.load import build_from
from spikeformers.checkpoints.made_here import made_here
from spikeformers.checkpoints.read import find_weights, read_checkpoint
from spikeformers.evaluation.subject import load_for_analysis
from spikeformers.models.building import rebuild
from spikeformers.models.own_code import load_object, user_code_errors
from spikeformers.models.registry import find_family


def load_to_audit(
    model: str,
    *,
    shape: tuple[int, ...] | None = None,
    layout: str | None = None,
    batch_size: int = 3,
    steps: int | None = None,
    data: str | None = None,
    root: str | None = None,
) -> tuple[nn.Module, Tensor]:
    """A model and inputs for it: noise, the test images of `data`, or what the user's own builder returns beside it.

    `model` is a name, a checkpoint, or `file.py:build`, a module or a callable without arguments that returns one,
    or one and inputs. `shape` is that of one sample, `[C, H, W]` if a model of this library says nothing else; in
    the layouts `TB` and `BT` it is repeated over `steps`.

    Raises what reading and building raise, and ValueError if the shape is not known or another number is missing.
    """
    if batch_size < 2:
        raise ValueError(f"a batch of {batch_size} has nothing to compare: give at least 2")
    if layout in ("TB", "BT") and not steps:
        raise ValueError(f"layout {layout} has an axis of time steps: give their number with --steps")
    is_file = find_weights(model).exists()
    if data:
        how: dict[str, Any] = dict(root=root, images=batch_size, batch_size=batch_size, other_classes=True)
        subject = load_for_analysis(model, data, **how)
        return subject.model, next(iter(subject.batches))[0]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # new weights are the same each time
        made, inputs = _made(model, is_file)
    if inputs is not None and shape is None:
        return made, inputs
    if shape is None and (shape := getattr(made, "image_shape", None)) is None:
        raise ValueError(
            f"{model} does not say what it takes: give the shape of one sample, as --shape 3,32,32, or return "
            "(model, inputs)"
        )
    first = {"TB": (steps or 1, batch_size), "BT": (batch_size, steps or 1)}.get(layout or "B", (batch_size,))
    return made, torch.randn(*first, *shape, generator=torch.Generator().manual_seed(0))


def _made(model: str, is_file: bool) -> tuple[Any, Tensor | None]:
    if is_file:
        checkpoint = read_checkpoint(model)
        return build_from(checkpoint, trusted=made_here(checkpoint.path)), None
    if ":" in model:
        return _own(model)
    find_family(model)
    return rebuild({"name": model}), None


def _own(name: str) -> tuple[nn.Module, Tensor | None]:
    """What the user's own builder returns."""
    build = load_object(name)
    if isinstance(build, nn.Module):
        return build, None
    if not callable(build):
        raise ValueError(f"{name} is {build!r}: name a function that returns a module")
    needed = [
        key
        for key, p in inspect.signature(build).parameters.items()
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    if needed:
        raise ValueError(f"{name} needs {', '.join(needed)}: name a function that needs no arguments")
    with user_code_errors(Path(name.rpartition(":")[0])):
        made = build()
    made, inputs = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(made, nn.Module) or not (inputs is None or isinstance(inputs, Tensor)):
        raise ValueError(f"{name} returns {type(made).__name__}: return a module, or (module, tensor of inputs)")
    return made, inputs
