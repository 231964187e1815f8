"""Where tensors come from and what reads them: what depends on the input, and which constant factors disappear."""

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
    """What made a tensor that depends on the input, and what reads its numbers.

    A constant factor goes into what is `affine`, weights whose product the tensor is, if nothing reads that without
    it; and into what `absorbs`, the threshold of a neuron or the weights of a product, if nothing else reads its
    result. What only moves or sums numbers, of its `parents`, passes it on.
    """

    elements: int = 0
    affine: bool = False
    biased: bool = False  # a constant was added already, and another one goes into it
    parents: tuple[Origin, ...] = ()
    maker: str = ""  # the layer whose weights made it
    readers: int = 0  # at first hand, but for factors
    scaled: int = 0  # numbers that factors read at first hand
    absorbed: int = 0  # readers at any hand that take a factor, or are one
    others: int = 0  # those that do not

    def line(self) -> Iterator[Origin]:
        """This one, and all that it is made of."""
        waiting, known = [self], {id(self)}
        while waiting:
            origin = waiting.pop()
            yield origin
            new = [parent for parent in origin.parents if id(parent) not in known]
            known |= {id(parent) for parent in new}
            waiting += new

    def absorbs(self) -> None:
        """Something reads it that a factor goes into."""
        self.readers += 1
        for origin in self.line():
            origin.absorbed += 1

    def is_scaled(self, elements: int) -> None:
        """So many of its numbers are multiplied by a constant."""
        self.scaled += elements
        for origin in self.line():
            origin.absorbed += 1

    def is_read(self) -> None:
        """Anything else reads it."""
        self.readers += 1
        self.is_summed()

    def is_summed(self) -> None:
        """It is added to what a factor of its own does not reach."""
        for origin in self.line():
            origin.others += 1

    def takes_a_factor(self) -> bool:
        """Whether nothing reads what made it but by way of factors, once all that reads it has."""
        if not self.affine or self.readers or self.scaled > self.elements:
            return False
        line = [*self.line()]
        ways = Counter(id(parent) for origin in line for parent in origin.parents)
        return all(origin.readers == ways[id(origin)] and not origin.scaled for origin in line[1:])

    def passes_a_factor(self) -> bool:
        """Whether all that reads it takes a factor that it was multiplied by, or has one of its own."""
        return not self.others and self.absorbed > 0


def moved(*origins: Origin | None, elements: int = 0, biased: bool = False) -> Origin:
    """What holds the same numbers, or their sum, as far as they depend on the input."""
    parents = tuple(origin for origin in origins if origin is not None)
    for parent in parents:
        parent.readers += 1
    affine = bool(parents) and all(parent.affine for parent in parents)
    biased = biased or (bool(parents) and all(parent.biased for parent in parents))
    return Origin(elements or sum(parent.elements for parent in parents), affine, biased, parents)


class Origins:
    """The origins of the tensors of one call, by their memory; what has none is a constant."""

    def __init__(self) -> None:
        self._by_memory: dict[int, Origin] = {}

    def clear(self) -> None:
        self._by_memory.clear()

    def of(self, x: Any) -> Origin | None:
        """What made `x`, or None for a number or a tensor that no input has a part in."""
        return self._by_memory.get(x.untyped_storage().data_ptr()) if _has_memory(x) else None

    def among(self, tree: Any) -> list[Origin]:
        """Those of all tensors in arguments, each once."""
        found = {id(origin): origin for x in tree_leaves(tree) if (origin := self.of(x)) is not None}
        return [*found.values()]

    def set(self, tree: Any, origin: Origin | None) -> None:
        """Every tensor in a tree was made so; None is a constant."""
        for x in tree_leaves(tree):
            if not _has_memory(x) or not (memory := x.untyped_storage().data_ptr()):
                continue
            if origin is None:
                self._by_memory.pop(memory, None)
            else:
                self._by_memory[memory] = origin


def _has_memory(x: Any) -> bool:
    return isinstance(x, Tensor) and x.layout == torch.strided  # a sparse one has that of its parts
