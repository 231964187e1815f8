"""Tracking the origins and readers of tensors, to find which depend on the input and which constant factors fold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves


@dataclass(eq=False)
class Origin:
    """The origin of a tensor that depends on the input, with its readers.

    A constant factor folds backwards into an `affine` origin, a product with weights, if every reader of the product
    applies the factor. It folds forwards into readers that absorb it, a neuron's threshold or a product's weights, if
    there are no other readers. Operations that only move or sum numbers pass factors on to their `parents`.
    """

    elements: int = 0
    affine: bool = False
    biased: bool = False  # has a bias, into which another constant would fold
    bounded: bool = False  # is behind a bound such as `relu`, through which no bias folds
    once: bool = False  # is made once, not at every step
    parents: tuple[Origin, ...] = ()
    maker: str = ""  # the layer whose weights made it
    readers: int = 0  # direct readers other than factors
    scaled: int = 0  # numbers read directly by factors
    absorbed: int = 0  # direct and indirect readers that absorb a factor, or are one
    others: int = 0  # direct and indirect readers that do not

    def line(self) -> Iterator[Origin]:
        """This origin and all its ancestors."""
        waiting, known = [self], {id(self)}
        while waiting:
            origin = waiting.pop()
            yield origin
            new = [parent for parent in origin.parents if id(parent) not in known]
            known |= {id(parent) for parent in new}
            waiting += new

    def absorbs(self) -> None:
        """Records a reader that absorbs a factor."""
        self.readers += 1
        for origin in self.line():
            origin.absorbed += 1

    def is_scaled(self, elements: int) -> None:
        """Records that `elements` of its numbers are multiplied by a constant."""
        self.scaled += elements
        for origin in self.line():
            origin.absorbed += 1

    def is_read(self) -> None:
        """Records any other reader."""
        self.readers += 1
        self.is_summed()

    def is_summed(self) -> None:
        """Records that it is added to a tensor that its factor does not reach."""
        for origin in self.line():
            origin.others += 1

    def takes_a_factor(self) -> bool:
        """Whether all its numbers are read by factors only. Call it once all readers are recorded."""
        if not self.affine or self.readers or self.scaled > self.elements:
            return False
        line = [*self.line()]
        ways = Counter(id(parent) for origin in line for parent in origin.parents)
        return all(origin.readers == ways[id(origin)] and not origin.scaled for origin in line[1:])

    def passes_a_factor(self) -> bool:
        """Whether every reader absorbs a factor, or is one."""
        return not self.others and self.absorbed > 0


def moved(*origins: Origin | None, elements: int = 0, biased: bool = False) -> Origin:
    """The origin of a tensor with the same numbers as others, or their sum. Constants among them are None."""
    parents = tuple(origin for origin in origins if origin is not None)
    for parent in parents:
        parent.readers += 1
    affine = bool(parents) and all(parent.affine for parent in parents)
    biased = biased or (bool(parents) and all(parent.biased for parent in parents))
    bounded = any(parent.bounded for parent in parents)
    return Origin(elements or sum(parent.elements for parent in parents), affine, biased, bounded, parents=parents)


class Origins:
    """The origins of the tensors in one call, by memory address. A tensor without origin is a constant."""

    def __init__(self) -> None:
        self._by_memory: dict[int, Origin] = {}

    def clear(self) -> None:
        self._by_memory.clear()

    def of(self, x: Any) -> Origin | None:
        """The origin of `x`, or None for a number or a tensor that does not depend on the input."""
        return self._by_memory.get(x.untyped_storage().data_ptr()) if _has_memory(x) else None

    def among(self, tree: Any) -> list[Origin]:
        """The distinct origins of all tensors in a tree of arguments."""
        found = {id(origin): origin for x in tree_leaves(tree) if (origin := self.of(x)) is not None}
        return [*found.values()]

    def set(self, tree: Any, origin: Origin | None) -> None:
        """Sets the origin of every tensor in a tree; None marks constants."""
        for x in tree_leaves(tree):
            if not _has_memory(x) or not (memory := x.untyped_storage().data_ptr()):
                continue
            if origin is None:
                self._by_memory.pop(memory, None)
            else:
                self._by_memory[memory] = origin


def _has_memory(x: Any) -> bool:
    return isinstance(x, Tensor) and x.layout == torch.strided  # a sparse tensor has none of its own
