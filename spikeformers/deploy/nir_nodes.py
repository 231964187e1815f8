"""What PyTorch's functions of a followed signal become: nodes of a NIR graph."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.modules.utils import _pair
from torch.utils._pytree import tree_leaves

if TYPE_CHECKING:
    import nir

    from spikeformers.deploy.nir_graph import Graph

STEPS = 2  # of the input that is followed: what mixes steps shows


class Signal(Tensor):
    """A tensor `[2, ...]`, what some nodes send together at two steps. PyTorch's functions of it become nodes."""

    graph: Graph
    sources: tuple[str, ...]  # the nodes that it is the sum of; none if one of them could not be made
    of: tuple[int, ...]  # a step's shape, as NIR has it

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
            made = func(*args, **(kwargs or {}))
        name, signals = func.__name__, [one for one in tree_leaves((args, kwargs)) if isinstance(one, Signal)]
        constant = name.endswith("_like") or name.startswith("new_") or (name == "to" and args[0] is not signals[0])
        if constant or not any(isinstance(one, Tensor) for one in tree_leaves(made)):
            return made  # of a signal's type or shape, not of its numbers
        return signals[0].graph.follow(name, made, signals, args, kwargs or {})


def _conv2d(
    graph: Graph, made: Tensor, x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
    dilation: Any = 1, groups: int = 1,
) -> Signal | None:  # fmt: skip
    square = weight.shape[2] == weight.shape[3]  # nir gets the types of others wrong
    if isinstance(weight, Signal) or not (square and _is_map(x)):
        return None
    bias = torch.zeros(len(weight)) if bias is None else bias
    size = tuple(x.shape[-2:])
    padding = padding if isinstance(padding, str) else _pair(padding)
    return _send(graph, made, x, "", lambda nir: nir.Conv2d(
        size, _dense(weight, groups).numpy(), _pair(stride), padding, _pair(dilation), 1, bias.numpy()
    ))  # fmt: skip


def _is_map(x: Signal) -> bool:
    """Whether the last axes are channels, height and width as NIR has them."""
    return not x.sources or (len(x.of) == 3 and x.of == x.shape[-3:])


def _dense(weight: Tensor, groups: int) -> Tensor:
    """The weight `[C, C_in, k, k]` of one group that does what `[C, C_in / groups, k, k]` does in several."""
    if groups == 1:
        return weight
    apart = torch.einsum("gcikl,gh->gchikl", weight.unflatten(0, (groups, -1)), torch.eye(groups))
    return apart.flatten(2, 3).flatten(0, 1)


def _linear(graph: Graph, made: Tensor, x: Any, weight: Any, bias: Any = None) -> Signal | None:
    if isinstance(weight, Signal) or x.numel() != STEPS * weight.shape[1]:
        return None
    if len(x.of) > 1:
        of = x.of  # counted from the end: readers do not agree on whether the batch is the first
        x = _send(graph, x, x, ".flatten", lambda nir: nir.Flatten(np.array(of), -len(of), -1), (math.prod(of),))
    if bias is None:
        return _send(graph, made, x, "", lambda nir: nir.Linear(weight.numpy()))
    return _send(graph, made, x, "", lambda nir: nir.Affine(weight.numpy(), bias.numpy()))


def _mean(graph: Graph, made: Tensor, x: Any, dim: Any = None, keepdim: bool = False) -> Signal | None:
    axes = sorted(axis % x.ndim for axis in ([dim] if isinstance(dim, int) else dim or ()))
    whole = axes == [x.ndim - 2, x.ndim - 1] and _is_map(x)
    return _pooled(graph, made, x, x.shape[-2:], x.shape[-2:], (0, 0)) if whole else None


def _avg_pool2d(
    graph: Graph, made: Tensor, x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0,
    ceil_mode: bool = False, count_include_pad: bool = True, divisor_override: int | None = None,
) -> Signal | None:  # fmt: skip
    padded = _pair(padding) != (0, 0) and not count_include_pad
    if not _is_map(x) or ceil_mode or padded or divisor_override:
        return None
    return _pooled(graph, made, x, _pair(kernel_size), _pair(stride or kernel_size), _pair(padding))


def _pooled(graph: Graph, made: Tensor, x: Signal, *sizes: Any) -> Signal:
    kernel, stride, padding = map(np.array, sizes)
    of = tuple(
        int((size + 2 * p - k) // s + 1) for size, k, s, p in zip(x.of[1:], kernel, stride, padding, strict=True)
    )
    return _send(graph, made, x, ".mean", lambda nir: nir.AvgPool2d(kernel, stride, padding), (x.of[0], *of))


def _batch_norm(
    graph: Graph, made: Tensor, x: Any, mean: Any, var: Any, weight: Any = None, bias: Any = None,
    training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
) -> Signal | None:  # fmt: skip
    """A norm that was not folded, as a convolution."""
    if training or not _is_map(x):
        return None
    scale = (1 if weight is None else weight) / (var + eps).sqrt()
    return _conv2d(graph, made, x, scale.diag()[..., None, None], (0 if bias is None else bias) - mean * scale)


def _add(graph: Graph, made: Tensor, x: Any, y: Any) -> Signal | None:
    if not (isinstance(x, Signal) and isinstance(y, Signal) and x.shape == y.shape):
        return None
    if x.sources and y.sources and x.of != y.of:
        return None
    if {*x.sources} & {*y.sources}:  # there is one edge from a node to another
        y = _scaled(graph, y, y, 1.0)
    return graph.signal(made, x.sources + y.sources if x.sources and y.sources else (), x.of)


def _sub(graph: Graph, made: Tensor, x: Any, y: Any) -> Signal | None:
    return _add(graph, made, x, _scaled(graph, y, y, -1.0)) if isinstance(y, Signal) else None


def _mul(graph: Graph, made: Tensor, x: Any, y: Any) -> Signal | None:
    x, y = (x, y) if isinstance(x, Signal) else (y, x)
    if isinstance(y, Signal) or made.shape != x.shape or x.of != x.shape[-len(x.of) :]:
        return None
    of_step = y.shape[max(0, y.ndim - len(x.of)) :] if isinstance(y, Tensor) else ()
    if isinstance(y, Tensor) and math.prod(of_step) != y.numel():  # it differs by step
        return None
    return _scaled(graph, made, x, torch.as_tensor(y).reshape(of_step))


def _scaled(graph: Graph, made: Tensor, x: Signal, by: Tensor | float) -> Signal:
    scale = torch.as_tensor(by, dtype=torch.float32).expand(x.of).numpy().copy()
    return _send(graph, made, x, ".scale", lambda nir: nir.Scale(scale), x.of)


def _div(graph: Graph, made: Tensor, x: Any, y: Any) -> Signal | None:
    return _mul(graph, made, x, 1 / y) if isinstance(x, Signal) and not isinstance(y, Signal) else None


def _send(
    graph: Graph, made: Tensor, x: Signal, what: str, make: Callable[[Any], nir.NIRNode], of: Any = None
) -> Signal:
    """What a new node, named after the module that runs, sends."""
    sources = graph.node(graph.running[-1][0] + what, x.sources, make) if x.sources else ()
    return graph.signal(made, sources, of or tuple(made.shape[1 if made.ndim == 4 else -1 :]))


NODES = {
    "conv2d": _conv2d, "batch_norm": _batch_norm, "linear": _linear, "mean": _mean, "avg_pool2d": _avg_pool2d,
    "add": _add, "__add__": _add, "__radd__": _add, "sub": _sub, "__sub__": _sub, "mul": _mul,
    "__mul__": _mul, "__rmul__": _mul, "div": _div, "__truediv__": _div,
}  # fmt: skip
