"""Models as graphs of NIR, the Neuromorphic Intermediate Representation, for simulators and chips that read it."""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.utils import _pair
from torch.utils._pytree import tree_leaves, tree_map_only

from spikeformers.models import SpikingTransformer
from spikeformers.models.folding import fold
from spikeformers.models.parts import part_name, slot_of
from spikeformers.neurons import IF, LIF, PLIF
from spikeformers.ops.arguments import check_finite

if TYPE_CHECKING:
    import nir

_STEPS = 2  # of the input that is followed: what mixes steps shows
_NEAREST = {
    "neuron": "LIF", "attention": "DepthwiseMixer", "mlp": "MLP", "position": "ConvPosition", "head": "Head",
    "shortcut": "SEWShortcut", "stem": "Patches", "downsampling": "Patches",
}  # fmt: skip # by slot
_NEAREST_OF_ALL = "sums, factors, convolutions, linear layers, average pools and LIF or IF neurons"
_KEEP_ORDER = {
    "flatten", "unflatten", "view", "reshape", "unsqueeze", "squeeze", "contiguous", "clone", "detach", "to", "float",
}  # fmt: skip
_PRODUCTS = {
    "mul", "__mul__", "__rmul__", "multiply", "matmul", "__matmul__", "__rmatmul__", "mm", "bmm", "einsum", "conv1d",
    "conv2d", "linear", "scaled_dot_product_attention",
}  # fmt: skip # of signals


def to_nir(model: SpikingTransformer, *, dt: float = 1e-4) -> nir.NIRGraph:
    """Writes a model as a graph of NIR, for SpikingJelly, snnTorch, Norse and neuromorphic chips.

        model = sf.create_model("spikformer_4_256_cifar10", attention="DepthwiseMixer", stem="Patches")
        nir.write("model.nir", sf.deploy.to_nir(model))

    The graph takes a frame `[C, H, W]` at each step and gives logits `[K]`, those of `forward_steps`. Their mean over
    the steps is the model's answer: NIR has no mean over time.

    NIR's neurons are differential equations in seconds, `tau dv/dt = (v_leak - v) + r I`. A reader integrates them in
    steps of its own `dt`, `v += dt / tau ((v_leak - v) + r I)`. With `tau dt` for NIR's `tau`, `v_leak = v_reset` and
    `r = 1` (`r = tau` in steps without `decay_input`) that is our `LIF` or `PLIF` of `tau` steps; our `IF` is
    `dv/dt = r I` with `r = 1 / dt`. NIR fires above the threshold and we at it, so the graph has the next smaller
    float32. Signals that meet at a node are added, as in both residual shortcuts.

    Norms are folded. Convolutions in groups become dense ones with zeros, which NIR's types and its readers need, and a
    mean over space an average pool. Nodes have the names of the model's modules. Pedersen et al., Nature Communications
    2024, arXiv:2311.14641.

    Args:
        model: A classifier of ours. It is unchanged.
        dt: Seconds a step, as the reader has it: 1e-4 for SpikingJelly and snnTorch, 1e-3 for Norse.

    Returns:
        The graph, for frames of the model's image size; its metadata has `dt`.

    Raises:
        ImportError: nir is not installed.
        ValueError: NIR cannot express some parts: all are named, each with the nearest that it can. Or the model is no
            classifier, or `dt` is not above 0.
    """
    if importlib.util.find_spec("nir") is None:
        raise ImportError("to_nir needs nir: pip install 'spikeformers[nir]'")
    check_finite(dt=dt)
    if dt <= 0:
        raise ValueError(f"dt {dt} is not above 0: give the seconds of a step, such as 1e-4")
    if not isinstance(model, SpikingTransformer) or model.task != "classification":
        kind = f"a model for {model.task}" if isinstance(model, SpikingTransformer) else f"a {type(model).__name__}"
        raise ValueError(f"{kind} is not written to NIR: give a classifier of sf.create_model")
    return _Graph(fold(model).cpu().float(), dt).made()


class _Signal(Tensor):
    """A tensor `[2, ...]`, what some nodes send together at two steps. PyTorch's functions of it become nodes."""

    graph: _Graph
    sources: tuple[str, ...]  # the nodes that it is the sum of; none if one of them could not be made
    of: tuple[int, ...]  # a step's shape, as NIR has it

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
            made = func(*args, **(kwargs or {}))
        name, signals = func.__name__, [one for one in tree_leaves((args, kwargs)) if isinstance(one, _Signal)]
        constant = name.endswith("_like") or name.startswith("new_") or (name == "to" and args[0] is not signals[0])
        if constant or not any(isinstance(one, Tensor) for one in tree_leaves(made)):
            return made  # of a signal's type or shape, not of its numbers
        return signals[0].graph.follow(name, made, signals, args, kwargs or {})


class _Neuron(nn.Module):
    """Stands for a neuron while a model is followed."""

    def __init__(self, name: str, neuron: nn.Module):
        super().__init__()
        self.name, self.neuron = name, neuron

    def forward(self, x: Tensor) -> Tensor:
        return x.graph.neuron(self.name, self.neuron, x) if isinstance(x, _Signal) else self.neuron(x)


class _Graph:
    """The graph of a folded model, found by following its `forward_steps`. The model is used up."""

    def __init__(self, model: SpikingTransformer, dt: float):
        self.dt, self.config = dt, model.config
        self.nodes: dict[str, Callable[[Any], nir.NIRNode]] = {}
        self.edges: list[tuple[str, str]] = []
        self.missing: dict[str, tuple[str, str, str]] = {}  # class, what NIR lacks, and the nearest, by module
        self.running: list[tuple[str, nn.Module]] = [("the model", model)]
        for name, module in list(model.named_modules()):
            if getattr(module, "levels", None):
                parent, _, last = name.rpartition(".")
                setattr(model.get_submodule(parent), last, _Neuron(name, module))
        for name, module in model.named_modules():
            module.register_forward_pre_hook(lambda module, _, name=name: self.running.append((name, module)))
            module.register_forward_hook(lambda *_: self.running.pop() and None)
        shape = model.image_shape
        self.node("input", (), lambda nir: nir.Input(np.array(shape)))
        with torch.no_grad():
            logits: Any = model.forward_steps(self.signal(torch.zeros(_STEPS, 1, *shape), ("input",), shape))
        self.node("output", logits.sources, lambda nir: nir.Output(np.array(logits.of)))

    def made(self) -> nir.NIRGraph:
        """The graph itself. Raises ValueError if nodes are missing."""
        import nir

        alike: dict[tuple[str, str, str], list[str]] = {}
        for name, why in self.missing.items():
            alike.setdefault(why, []).append(name)
        parts = (f"{_listed(names)} ({kind}: {what}; nearest: {near})" for (kind, what, near), names in alike.items())
        if alike:
            count = f"{len(self.missing)} part{'s' * (len(self.missing) > 1)}"
            raise ValueError(f"NIR cannot express {count} of this model: {'; '.join(parts)}")
        read = {"output"}  # the nodes that it depends on
        for source, name in reversed(self.edges):
            if name in read:
                read.add(source)
        nodes = {name: make(nir) for name, make in self.nodes.items() if name in read}
        edges = [edge for edge in self.edges if read.issuperset(edge)]
        return nir.NIRGraph(nodes, edges, metadata={"dt": self.dt})

    def node(self, name: str, sources: tuple[str, ...], make: Callable[[Any], nir.NIRNode]) -> tuple[str]:
        while name in self.nodes:
            name += "_"
        self.nodes[name] = make
        self.edges += [(source, name) for source in sources]
        return (name,)

    def signal(self, x: Tensor, sources: tuple[str, ...], of: tuple[int, ...]) -> _Signal:
        with torch._C.DisableTorchFunctionSubclass():
            signal = x.detach().as_subclass(_Signal)
        signal.graph, signal.sources, signal.of = self, sources, of
        return signal

    def neuron(self, name: str, z: Any, x: _Signal) -> _Signal:
        fired = self.signal(x, (), x.of)
        kind = type(z)
        if tuple(z.levels) != (0.0, 1.0):
            levels = f"{len(z.levels)} levels from {z.levels[0]:g} to {z.levels[-1]:g} in place of 0 and 1"
            self.lacks(name, z, levels, self.nearest(z))
        elif kind not in (LIF, PLIF, IF):
            self.lacks(name, z, "no LIF, PLIF or IF", self.nearest(z))
        elif z.v_reset is None:
            self.lacks(name, z, "a reset by subtraction, v_reset=None", "v_reset=0")
        elif x.sources:
            steps = math.inf if kind is IF else float(1 + torch.exp(-z.w)) if kind is PLIF else z.tau
            below = float(np.nextafter(np.float32(z.v_threshold), np.float32(-np.inf)))
            numbers = dict(v_threshold=below, v_reset=z.v_reset)
            if kind is IF:
                numbers |= dict(r=1 / self.dt)
            else:
                numbers |= dict(tau=steps * self.dt, r=1.0 if z.decay_input else steps, v_leak=z.v_reset)
            arrays = {key: np.full(x.of, float(number)) for key, number in numbers.items()}
            node = self.node(name, x.sources, lambda nir: (nir.IF if kind is IF else nir.LIF)(**arrays))
            fired.sources = node
        return fired

    def follow(self, name: str, made: Any, signals: list[_Signal], args: Any, kwargs: Any) -> Any:
        """What a function made, as signals."""
        x = signals[0]
        if name in _KEEP_ORDER and made.shape[0] == _STEPS and made.numel() == x.numel():
            return self.signal(made, x.sources, x.of)
        node = _NODES.get(name)
        followed = node(self, made, *args, **kwargs) if node else None
        if followed is not None:
            return followed
        self.lacks_here(name, product=len(signals) > 1 and name in _PRODUCTS)
        return tree_map_only(Tensor, lambda y: self.signal(y, (), tuple(y.shape[-3:])), made)

    def lacks_here(self, function: str, product: bool) -> None:
        """Notes that the module that runs calls a function that NIR has no node for."""
        name, module = self.running[-1]
        what = "a product of two signals" if product else function.strip("_")
        if product:  # whatever else it does, this is why
            self.missing.pop(name, None)
        self.lacks(name, module, what, self.nearest())

    def nearest(self, *parts: nn.Module) -> str:
        """The arguments that put another in place of a part, or of the innermost around it that the model was given."""
        for part in (*parts, *(module for _, module in reversed(self.running))):
            slots = (key for key in self.config if slot_of(key) and part_name(self.config[key]) == type(part).__name__)
            if put := [f"{key}={_NEAREST[slot]}" for key in slots if (slot := slot_of(key)) in _NEAREST]:
                return ", ".join(put)
        return _NEAREST_OF_ALL

    def lacks(self, name: str, module: nn.Module, what: str, nearest: str) -> None:
        self.missing.setdefault(name, (type(module).__name__, what, nearest))


def _conv2d(
    graph: _Graph, made: Tensor, x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
    dilation: Any = 1, groups: int = 1,
) -> _Signal | None:  # fmt: skip
    square = weight.shape[2] == weight.shape[3]  # nir gets the types of others wrong
    if isinstance(weight, _Signal) or not (square and _is_map(x)):
        return None
    bias = torch.zeros(len(weight)) if bias is None else bias
    size = tuple(x.shape[-2:])
    padding = padding if isinstance(padding, str) else _pair(padding)
    return _send(graph, made, x, "", lambda nir: nir.Conv2d(
        size, _dense(weight, groups).numpy(), _pair(stride), padding, _pair(dilation), 1, bias.numpy()
    ))  # fmt: skip


def _is_map(x: _Signal) -> bool:
    """Whether the last axes are channels, height and width as NIR has them."""
    return not x.sources or (len(x.of) == 3 and x.of == x.shape[-3:])


def _dense(weight: Tensor, groups: int) -> Tensor:
    """The weight `[C, C_in, k, k]` of one group that does what `[C, C_in / groups, k, k]` does in several."""
    if groups == 1:
        return weight
    apart = torch.einsum("gcikl,gh->gchikl", weight.unflatten(0, (groups, -1)), torch.eye(groups))
    return apart.flatten(2, 3).flatten(0, 1)


def _linear(graph: _Graph, made: Tensor, x: Any, weight: Any, bias: Any = None) -> _Signal | None:
    if isinstance(weight, _Signal) or x.numel() != _STEPS * weight.shape[1]:
        return None
    if len(x.of) > 1:
        of = x.of  # counted from the end: readers do not agree on whether the batch is the first
        x = _send(graph, x, x, ".flatten", lambda nir: nir.Flatten(np.array(of), -len(of), -1), (math.prod(of),))
    if bias is None:
        return _send(graph, made, x, "", lambda nir: nir.Linear(weight.numpy()))
    return _send(graph, made, x, "", lambda nir: nir.Affine(weight.numpy(), bias.numpy()))


def _mean(graph: _Graph, made: Tensor, x: Any, dim: Any = None, keepdim: bool = False) -> _Signal | None:
    axes = sorted(axis % x.ndim for axis in ([dim] if isinstance(dim, int) else dim or ()))
    whole = axes == [x.ndim - 2, x.ndim - 1] and _is_map(x)
    return _pooled(graph, made, x, x.shape[-2:], x.shape[-2:], (0, 0)) if whole else None


def _avg_pool2d(
    graph: _Graph, made: Tensor, x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0,
    ceil_mode: bool = False, count_include_pad: bool = True, divisor_override: int | None = None,
) -> _Signal | None:  # fmt: skip
    padded = _pair(padding) != (0, 0) and not count_include_pad
    if not _is_map(x) or ceil_mode or padded or divisor_override:
        return None
    return _pooled(graph, made, x, _pair(kernel_size), _pair(stride or kernel_size), _pair(padding))


def _pooled(graph: _Graph, made: Tensor, x: _Signal, *sizes: Any) -> _Signal:
    kernel, stride, padding = map(np.array, sizes)
    of = tuple(
        int((size + 2 * p - k) // s + 1) for size, k, s, p in zip(x.of[1:], kernel, stride, padding, strict=True)
    )
    return _send(graph, made, x, ".mean", lambda nir: nir.AvgPool2d(kernel, stride, padding), (x.of[0], *of))


def _batch_norm(
    graph: _Graph, made: Tensor, x: Any, mean: Any, var: Any, weight: Any = None, bias: Any = None,
    training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
) -> _Signal | None:  # fmt: skip
    """A norm that was not folded, as a convolution."""
    if training or not _is_map(x):
        return None
    scale = (1 if weight is None else weight) / (var + eps).sqrt()
    return _conv2d(graph, made, x, scale.diag()[..., None, None], (0 if bias is None else bias) - mean * scale)


def _add(graph: _Graph, made: Tensor, x: Any, y: Any) -> _Signal | None:
    if not (isinstance(x, _Signal) and isinstance(y, _Signal) and x.shape == y.shape):
        return None
    if x.sources and y.sources and x.of != y.of:
        return None
    if {*x.sources} & {*y.sources}:  # there is one edge from a node to another
        y = _scaled(graph, y, y, 1.0)
    return graph.signal(made, x.sources + y.sources if x.sources and y.sources else (), x.of)


def _sub(graph: _Graph, made: Tensor, x: Any, y: Any) -> _Signal | None:
    return _add(graph, made, x, _scaled(graph, y, y, -1.0)) if isinstance(y, _Signal) else None


def _mul(graph: _Graph, made: Tensor, x: Any, y: Any) -> _Signal | None:
    x, y = (x, y) if isinstance(x, _Signal) else (y, x)
    if isinstance(y, _Signal) or made.shape != x.shape or x.of != x.shape[-len(x.of) :]:
        return None
    of_step = y.shape[max(0, y.ndim - len(x.of)) :] if isinstance(y, Tensor) else ()
    if isinstance(y, Tensor) and math.prod(of_step) != y.numel():  # it differs by step
        return None
    return _scaled(graph, made, x, torch.as_tensor(y).reshape(of_step))


def _scaled(graph: _Graph, made: Tensor, x: _Signal, by: Tensor | float) -> _Signal:
    scale = torch.as_tensor(by, dtype=torch.float32).expand(x.of).numpy().copy()
    return _send(graph, made, x, ".scale", lambda nir: nir.Scale(scale), x.of)


def _div(graph: _Graph, made: Tensor, x: Any, y: Any) -> _Signal | None:
    return _mul(graph, made, x, 1 / y) if isinstance(x, _Signal) and not isinstance(y, _Signal) else None


def _send(
    graph: _Graph, made: Tensor, x: _Signal, what: str, make: Callable[[Any], nir.NIRNode], of: Any = None
) -> _Signal:
    """What a new node, named after the module that runs, sends."""
    sources = graph.node(graph.running[-1][0] + what, x.sources, make) if x.sources else ()
    return graph.signal(made, sources, of or tuple(made.shape[1 if made.ndim == 4 else -1 :]))


_NODES = {
    "conv2d": _conv2d, "batch_norm": _batch_norm, "linear": _linear, "mean": _mean, "avg_pool2d": _avg_pool2d,
    "add": _add, "__add__": _add, "__radd__": _add, "sub": _sub, "__sub__": _sub, "mul": _mul,
    "__mul__": _mul, "__rmul__": _mul, "div": _div, "__truediv__": _div,
}  # fmt: skip


def _listed(names: list[str]) -> str:
    """`blocks.0.attn, blocks.1.attn, head` as `blocks.{0,1}.attn, head`."""
    alike: dict[tuple[str, str], list[str]] = {}
    for name in names:
        begin, number, end = (*re.split(r"(\d+)", name, maxsplit=1), "", "")[:3]
        alike.setdefault((begin, end), []).append(number)
    return ", ".join(
        f"{begin}{numbers[0]}{end}" if len(numbers) == 1 else f"{begin}{{{','.join(numbers)}}}{end}"
        for (begin, end), numbers in alike.items()
    )
