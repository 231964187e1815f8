"""Run counts of spikes as binary steps: an integer network as the spiking one that it stands for."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import prod
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._pytree import tree_map

from spikeformers.layers.contracts import COUNTS, declared
from spikeformers.models.folding import fold

Model = TypeVar("Model", bound=nn.Module)


def unroll(model: Model) -> Model:
    """Copies a model for inference in binary steps: a count of up to D becomes D steps of 0 or 1, T steps T x D.

        binary = sf.deploy.unroll(model)
        sf.analysis.audit(sf.analysis.profile(binary, batches))  # every product: binary

    The copy answers as the model does, up to rounding. A neuron with levels 0, u, ..., D u fires at the first n of D
    steps. What a spike is worth, u, goes into the weights of whatever reads it. The steps of one count meet in the
    membrane of the neuron that they reach, so a bias enters once. A product of two counts pairs every step of one with
    every step of the other; a sum of counts behind a SEW shortcut has the steps of all of them. Where a part does
    something else with counts, such as subtracting them from 1, it gets the counts.

    Energy by the convention `integer` stays what it is, for there a count of n costs n additions at each synapse. Other
    conventions take a count for one spike (`sdt`), for its value (`spikformer`) or for a multiplication
    (`spikingformer`), and change. A product of counts n and m is n m additions of 1, not n of m; and a neuron compares
    at each of the D steps (`strict`).

    SDT V3, Yao et al., TPAMI 2025, arXiv:2411.16061; SpikeYOLO, Luo et al., ECCV 2024, arXiv:2407.20708.

    Args:
        model: A model of ours or any module. It is unchanged.

    Returns:
        The copy, folded, in eval mode, without gradients. Its weights are the model's: save and share the model.

    Raises:
        ValueError: No neuron emits counts, and no shortcut adds spikes up.
    """
    unrolled = fold(model)
    neurons = [*_neurons(unrolled)]
    emitters = (m for m in unrolled.modules() if declared(m, "emits") == COUNTS)
    if not any(len(_steps_of(neuron)) > 1 for _, _, neuron in neurons) and not any(emitters):
        raise ValueError(
            f"{type(model).__name__} has binary spikes only, with nothing to unroll: give a model with integer "
            "neurons, such as neuron=IntegerHalfEven, or with SEW shortcuts"
        )
    inside = {neuron: _Neuron(neuron) for _, _, neuron in neurons}
    for parent, name, neuron in neurons:
        setattr(parent, name, inside[neuron])
    unrolled.register_forward_hook(_leave)
    return unrolled


def _neurons(module: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    """Every neuron, with the module that has it and its name there."""
    for name, child in module.named_children():
        if getattr(child, "levels", None):
            yield module, name, child
        else:
            yield from _neurons(child)


def _leave(module: nn.Module, inputs: Any, output: Any) -> Any:
    return tree_map(_plain, output)


def _steps_of(neuron: Any) -> range:
    """The binary steps of a neuron's counts; none where its levels are not 0, u, ..., D u."""
    levels = neuron.levels
    unit = levels[1] if len(levels) > 1 else 0.0
    even = unit > 0 and all(abs(level - n * unit) < 1e-6 * unit for n, level in enumerate(levels))
    return range(len(levels) - 1 if even else 0)


class BinarySteps(nn.Module):
    """A neuron whose counts are binary steps: `[T, ...] current -> [T D, ...]`, for n first n times 1, then 0."""

    levels = (0.0, 1.0)

    def __init__(self, counts: Any):
        super().__init__()
        self.counts, self.sub_steps, self.unit = counts, len(_steps_of(counts)), counts.levels[1]
        self.causal, self.resets = declared(counts, "causal"), declared(counts, "resets")
        if (times := declared(counts, "multiplications")) is not None:
            self.multiplications = times

    def forward(self, x: Tensor) -> Tensor:
        return _in_order((self.counts(x) / self.unit).round(), self.sub_steps, 1).flatten(0, 1)


class _Neuron(nn.Module):
    """A neuron between currents and steps."""

    def __init__(self, neuron: nn.Module):
        super().__init__()
        self.spikes = BinarySteps(neuron) if _steps_of(neuron) else neuron

    def forward(self, x: "Tensor | Steps") -> "Tensor | Steps":
        spikes = self.spikes(_plain(x))
        if not isinstance(self.spikes, BinarySteps):
            return spikes
        steps = spikes.unflatten(0, (-1, self.spikes.sub_steps)).transpose(0, 1)
        return Steps(steps, self.spikes.unit, binary=True, in_order=True)


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
    if isinstance(x, Steps) and name in _MOVES:
        return x.each(function, *args[1:], **kwargs)
    if isinstance(x, Steps) and name in ("max_pool2d", "max_pool1d", "max_pool3d") and x.binary:
        steps = x if x.in_order else Steps(_in_order(x.steps.sum(0), len(x.steps)), x.unit, binary=True)
        return steps.each(function, *args[1:], **kwargs)
    if name in _HANDLERS and (done := _HANDLERS[name](*args, **kwargs)) is not NotImplemented:
        return done
    return function(*tree_map(_plain, tuple(args)), **tree_map(_plain, kwargs))


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


def _in_order(counts: Tensor, steps: int, axis: int = 0) -> Tensor:
    return torch.stack([(counts > step).to(counts.dtype) for step in range(steps)], axis)


def _plain(x: Any) -> Any:
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
