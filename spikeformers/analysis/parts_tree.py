"""A model as a tree of parts, with output shapes and parameters."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from spikeformers.layers.conv import ConvNorm
from spikeformers.layers.drop_path import DropPath
from spikeformers.models import SpikingTransformer


@dataclass(frozen=True)
class Part:
    """One line of the tree: depth, name and kind of a part, its output shape for one image, and its parameters."""

    depth: int
    name: str
    kind: str
    shape: tuple[int, ...] | None
    parameters: int


def parts_tree(model: SpikingTransformer) -> list[Part]:
    """The parts of a model as a list of lines, parents first.

    Args:
        model: is not run; shapes come from a copy on the meta device.

    Returns:
        One entry per part, with output shapes for one image of the model's own size. Equal consecutive blocks share an
        entry, `1-7`.
    """
    memo = {id(x): x.data.to("meta") for x in model.buffers()}
    memo |= {id(x): nn.Parameter(x.data.to("meta"), x.requires_grad) for x in model.parameters()}
    twin = copy.deepcopy(
        model, memo
    ).eval()  # not rebuilt from the config, which does not know later edits such as folding
    image = torch.empty(1, *twin.image_shape, device="meta")
    shapes: dict[nn.Module, tuple[int, ...]] = {}

    def note(module: nn.Module, _inputs: tuple, output: Any) -> None:
        values = output.values() if isinstance(output, dict) else output
        first = output if isinstance(output, Tensor) else next(iter(values))
        if isinstance(first, Tensor):
            shapes.setdefault(module, tuple(first.shape))  # of a pyramid, the finest level

    hooks = [module.register_forward_hook(note) for module in twin.modules()]
    with torch.no_grad():
        shapes[twin] = tuple(next(iter(twin.forward_outputs(image).values())).shape)
    for hook in hooks:
        hook.remove()
    if len(twin.blocks):  # blocks are called one by one
        shapes[twin.blocks] = shapes[twin.blocks[-1]]
    return [Part(0, "", type(twin).__name__, shapes.get(twin), _count(twin)), *_lines(twin, shapes, 1)]


def _lines(module: nn.Module, shapes: dict[nn.Module, tuple[int, ...]], depth: int) -> Iterator[Part]:
    children = list(module.named_children())
    while children:
        name, child = children.pop(0)
        if isinstance(child, nn.Identity) or (isinstance(child, DropPath) and child.rate == 0):
            continue
        last = name
        while name.isdigit() and children and str(children[0][1]) == str(child):
            last = children.pop(0)[0]
        kind = type(child).__name__
        if child.extra_repr():
            kind += f"({child.extra_repr()})"
        label = name if last == name else f"{name}-{last}"
        yield Part(
            depth, label, kind, shapes.get(child), _count(child) * (int(last) - int(name) + 1 if last != name else 1)
        )
        if not isinstance(child, ConvNorm):  # its two layers add no information
            yield from _lines(child, shapes, depth + 1)


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
