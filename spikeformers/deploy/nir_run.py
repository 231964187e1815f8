"""A graph of NIR, run in torch by NIR's own definitions: what an exported file is checked by."""

from __future__ import annotations

from collections.abc import Callable
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    import nir

_Run = Callable[[Tensor], Tensor]


def run_nir(graph: nir.NIRGraph, frames: Tensor, dt: float) -> Tensor:
    """What a graph of `to_nir` sends, in the frames' precision: `[T, B, C, H, W] -> [T, B, K]`, `dt` seconds a step."""
    before: dict[str, list[str]] = {name: [] for name in graph.nodes}
    for source, name in graph.edges:
        before[name].append(source)
    order = [*TopologicalSorter(before).static_order()]
    runs = {name: _runs(node, dt, frames.dtype) for name, node in graph.nodes.items()}
    (output,) = graph.outputs
    sent = []
    for frame in frames:
        now: dict[str, Tensor] = {}
        for name in order:
            first, *others = [now[source] for source in before[name]] or [frame]
            now[name] = runs[name](sum(others, first))
        sent.append(now[output])
    return torch.stack(sent)


def _runs(node: Any, dt: float, dtype: torch.dtype) -> _Run:
    """What computes a node, with its state."""

    def given(name: str) -> Tensor:
        return torch.as_tensor(np.asarray(getattr(node, name))).to(dtype)

    def sizes(name: str) -> Any:
        return tuple(int(size) for size in np.broadcast_to(getattr(node, name), 2))

    match type(node).__name__:
        case "Input" | "Output":
            return lambda x: x
        case "Conv2d":
            settings = (sizes("stride"), sizes("padding"), sizes("dilation"), int(node.groups))
            weight, bias = given("weight"), given("bias")
            return lambda x: F.conv2d(x, weight, bias, *settings)
        case "Affine":
            weight, bias = given("weight"), given("bias")
            return lambda x: F.linear(x, weight, bias)
        case "Linear":
            weight = given("weight")
            return lambda x: F.linear(x, weight)
        case "Scale":
            scale = given("scale")
            return lambda x: x * scale
        case "AvgPool2d":
            pool = (sizes("kernel_size"), sizes("stride"), sizes("padding"))
            return lambda x: F.avg_pool2d(x, *pool)
        case "Flatten":
            return lambda x: x.flatten(1)
        case "LIF":
            leak, rest, r = dt / given("tau"), given("v_leak"), given("r")
            return _neuron(lambda v, x: v + leak * (rest - v + r * x), rest, given("v_threshold"), given("v_reset"))
        case "IF":
            v_reset, charge = given("v_reset"), dt * given("r")
            return _neuron(lambda v, x: v + charge * x, v_reset, given("v_threshold"), v_reset)
    raise ValueError(f"to_nir writes no node of type {type(node).__name__}")


def _neuron(charge: Callable[[Tensor, Tensor], Tensor], v: Tensor, v_threshold: Tensor, v_reset: Tensor) -> _Run:
    def step(x: Tensor) -> Tensor:
        nonlocal v
        v = charge(v, x)
        fired = v > v_threshold
        v = torch.where(fired, v_reset, v)
        return fired.to(x.dtype)

    return step
