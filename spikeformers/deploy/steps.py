"""Tensors taken apart into the steps that they are the sum of, and PyTorch's functions on them."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._pytree import tree_map


class Steps:
    """A tensor `[...]` as a sum of others, `unit * steps.sum(0)` of `steps` `[D, ...]`; PyTorch's functions take it.

    A product with weights or with other steps takes it apart, and what moves numbers moves each step. Everything else
    gets the sum, `plain()`. `binary`: each step is 0 or 1; `in_order`: and a 0 is followed by nothing but 0.
    """

    def __init__(self, steps: Tensor, unit: float = 1.0, *, binary: bool = False, in_order: bool = False):
        self.steps, self.unit, self.binary, self.in_order = steps, unit, binary, in_order

    @property
    def shape(self) -> torch.Size:
        return self.steps.shape[1:]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def dim(self) -> int:
        return self.ndim

    def size(self, axis: int | None = None) -> Any:
        return self.shape if axis is None else self.shape[axis]

    def stride(self, axis: int | None = None) -> Any:
        strides = self.steps.stride()[1:]
        return strides if axis is None else strides[axis]

    def numel(self) -> int:
        return self.shape.numel()

    def plain(self) -> Tensor:
        return _scaled(self.steps.sum(0) if len(self.steps) > 1 else self.steps[0], self.unit)

    def each(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """A function of one tensor, of every step."""
        done = [function(step, *args, **kwargs) for step in self.steps]
        like = partial(Steps, unit=self.unit, binary=self.binary, in_order=self.in_order)
        return tree_map(lambda *steps: like(torch.stack(steps)), *done)

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(Tensor, name)  # AttributeError is right where a tensor has none
        if name.startswith("new_"):
            return getattr(self.steps, name)
        if callable(attribute):
            return lambda *args, **kwargs: _call(attribute, (self, *args), kwargs)
        if name in ("mT", "mH"):
            return self.each(lambda step: getattr(step, name))
        return getattr(self.steps if name in _SHARED else self.plain(), name)

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.unbind(0))

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _call(function, args, kwargs or {})


def _operator(name: str) -> Callable[..., Any]:
    method = getattr(Tensor, name)
    return lambda self, *args: _call(method, (self, *args), {})


for _name in (
    "add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv", "matmul", "rmatmul", "pow", "neg", "getitem",
    "ge", "gt", "le", "lt",
):  # fmt: skip
    setattr(Steps, f"__{_name}__", _operator(f"__{_name}__"))


def _call(function: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """One of PyTorch's functions, of arguments with steps among them."""
    name = getattr(function, "__name__", "").strip("_")
    x = args[0] if args else None
    if isinstance(x, Steps) and name in _MOVES and not _fills(name, args, kwargs):
        return x.each(function, *args[1:], **kwargs)
    if isinstance(x, Steps) and name in ("max_pool2d", "max_pool1d", "max_pool3d") and x.binary and x.unit > 0:
        steps = x if x.in_order else Steps(in_order(x.steps.sum(0), len(x.steps)), x.unit, binary=True)
        return steps.each(function, *args[1:], **kwargs)
    if name in _HANDLERS and (done := _HANDLERS[name](*args, **kwargs)) is not NotImplemented:
        return done
    return function(*tree_map(plain, tuple(args)), **tree_map(plain, kwargs))


def _fills(name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    """Whether a padding is no 0, which every step would have."""
    return name == "pad" and bool(kwargs.get("value", args[3] if len(args) > 3 else 0))


def _matmul(left: Any, right: Any) -> Any:
    """Every step of one side with every step of the other, in one product."""
    left, right = _stepped(left), _stepped(right)
    if min(left.ndim, right.ndim) < 2:
        return NotImplemented
    pairs = len(left.steps), len(right.steps)
    a = left.steps.movedim(0, -1)[..., None].expand(*left.shape, *pairs).flatten(-3)  # ... N (C D1 D2)
    b = right.steps.movedim(0, -2).unsqueeze(-3)  # ... C 1 D2 M
    b = b.expand(*right.shape[:-1], *pairs, right.shape[-1]).flatten(-4, -2)  # ... (C D1 D2) M
    return Steps((a @ b)[None], left.unit * right.unit)


def _mul(left: Any, right: Any) -> Any:
    steps, factor = (right, left) if isinstance(left, int | float) else (left, right)
    if isinstance(factor, int | float):
        return Steps(steps.steps, steps.unit * factor, binary=steps.binary, in_order=steps.in_order and factor > 0)
    left, right = _stepped(left), _stepped(right)
    rank = max(left.ndim, right.ndim)
    a, b = (x.steps[(slice(None), *[None] * (rank - x.ndim))] for x in (left, right))
    in_order = (len(a) == 1 or len(b) == 1) and left.in_order and right.in_order
    binary = left.binary and right.binary
    return Steps((a[:, None] * b).flatten(0, 1), left.unit * right.unit, binary=binary, in_order=in_order)


def _div(left: Any, right: Any, **rounding: Any) -> Any:
    one_number = isinstance(right, int | float) and not rounding
    return _mul(left, 1 / right) if one_number else NotImplemented


def _add(left: Any, right: Any, **alpha: Any) -> Any:
    """Spikes of both, where they are worth the same."""
    both = isinstance(left, Steps) and isinstance(right, Steps) and not alpha
    if not (both and left.binary and right.binary and left.unit == right.unit and left.shape == right.shape):
        return NotImplemented
    return Steps(torch.cat([left.steps, right.steps]), left.unit, binary=True)


def _cat(parts: Sequence[Any], dim: int = 0) -> Any:
    parts = [_stepped(part) for part in parts]
    if len({part.unit for part in parts}) > 1:
        return NotImplemented
    most = max(len(part.steps) for part in parts)
    padded = [torch.cat([p.steps, p.steps.new_zeros(most - len(p.steps), *p.shape)]) for p in parts]
    binary, in_order = all(p.binary for p in parts), all(p.in_order for p in parts)
    return Steps(torch.cat(padded, dim + (dim >= 0)), parts[0].unit, binary=binary, in_order=in_order)


def _stack(parts: Sequence[Any], dim: int = 0) -> Any:
    return _cat([part.unsqueeze(dim) for part in parts], dim)


def _sum(x: Any, dim: Any = None, keepdim: bool = False) -> Any:
    if dim is None:
        return NotImplemented
    axes = [axis % x.ndim + 1 for axis in ([dim] if isinstance(dim, int) else dim)]
    total = x.steps.sum((0, *axes), keepdim=keepdim)
    return _scaled(total[0] if keepdim else total, x.unit)


def _mean(x: Any, dim: Any = None, keepdim: bool = False) -> Any:
    if dim is None:
        return NotImplemented
    size = prod(x.shape[axis] for axis in ([dim] if isinstance(dim, int) else dim))
    return _sum(x * (1 / size), dim, keepdim)


def _conv(axes: int) -> Callable[..., Any]:
    def conv(input: Any, weight: Any, bias: Any = None, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(input, Steps) or isinstance(weight, Steps):
            return NotImplemented
        x = input.steps.movedim(0, -1 - axes).flatten(-2 - axes, -1 - axes)  # B (C D) H W
        return _CONVS[axes](x, _weights(weight, input), bias, *args, **kwargs)

    return conv


def _linear(input: Any, weight: Any, bias: Any = None) -> Any:
    if not isinstance(input, Steps) or isinstance(weight, Steps):
        return NotImplemented
    return F.linear(input.steps.movedim(0, -1).flatten(-2), _weights(weight, input), bias)


def _weights(weight: Tensor, x: Steps) -> Tensor:
    """`[C_out, C, ...] -> [C_out, C D, ...]`: the same for each step."""
    return _scaled(weight if len(x.steps) == 1 else weight.repeat_interleave(len(x.steps), 1), x.unit)


def _scaled(x: Tensor, unit: float) -> Tensor:
    return x if unit == 1 else x * unit


def in_order(counts: Tensor, steps: int, axis: int = 0) -> Tensor:
    """Counts as 0 or 1 at each of some steps, on a new axis: for n first n times 1, then 0."""
    return torch.stack([(counts > step).to(counts.dtype) for step in range(steps)], axis)


def plain(x: Any) -> Any:
    """The tensor that steps stand for, and anything else as it is."""
    return x.plain() if isinstance(x, Steps) else x


def _stepped(x: Any) -> Steps:
    return x if isinstance(x, Steps) else Steps(x[None])


_SHARED = ("dtype", "device", "layout", "requires_grad", "is_cuda", "is_meta", "is_sparse", "is_quantized")
_MOVES = frozenset((
    "flatten", "unflatten", "reshape", "view", "transpose", "swapaxes", "permute", "movedim", "unsqueeze", "squeeze",
    "expand", "contiguous", "clone", "detach", "to", "float", "double", "half", "bfloat16", "getitem", "select",
    "narrow", "unbind", "chunk", "split", "roll", "flip", "repeat", "repeat_interleave", "index_select", "pad",
    "unfold", "pixel_unshuffle", "pixel_shuffle",
))  # fmt: skip
_CONVS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_HANDLERS: dict[str, Callable[..., Any]] = {
    "matmul": _matmul, "rmatmul": lambda right, left: _matmul(left, right), "bmm": _matmul, "mm": _matmul,
    "mul": _mul, "rmul": _mul, "multiply": _mul, "div": _div, "truediv": _div,
    "add": _add, "radd": _add, "cat": _cat, "concat": _cat, "stack": _stack, "sum": _sum, "mean": _mean,
    "linear": _linear, **{f"conv{axes}d": _conv(axes) for axes in _CONVS},
}  # fmt: skip
