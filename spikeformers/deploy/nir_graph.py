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
from torch.utils._pytree import tree_map_only

from spikeformers.deploy.nir_nodes import NODES, STEPS, Signal
from spikeformers.models import SpikingTransformer
from spikeformers.models.folding import fold
from spikeformers.models.parts import part_name, slot_of
from spikeformers.neurons import IF, LIF, PLIF
from spikeformers.ops.arguments import check_finite

if TYPE_CHECKING:
    import nir

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
    `dv/dt = r I` with `r = 1 / dt`. NIR fires above the threshold, our neurons at it: so the graph's thresholds are the
    next smaller float32. Signals that meet at a node are added, as in the SEW and the membrane shortcut.

    Norms are folded. Grouped convolutions become dense ones with zeros, as NIR's types and its readers require; a mean
    over space becomes an average pool. Nodes have the names of the model's modules. Pedersen et al., Nature
    Communications 2024, arXiv:2311.14641.

    Args:
        model: A classifier of ours. It is unchanged.
        dt: The reader's seconds per step: 1e-4 for SpikingJelly and snnTorch, 1e-3 for Norse.

    Returns:
        The graph, for frames of the model's image size; its metadata has `dt`.

    Raises:
        ImportError: nir is not installed.
        ValueError: NIR cannot express some parts (the message names all, each with the nearest one that it can), the
            model is not a classifier, or `dt` is not above 0.
    """
    if importlib.util.find_spec("nir") is None:
        raise ImportError("to_nir needs nir: pip install 'spikeformers[nir]'")
    check_finite(dt=dt)
    if dt <= 0:
        raise ValueError(f"dt {dt} is not above 0: give the seconds of a step, such as 1e-4")
    if not isinstance(model, SpikingTransformer) or model.task != "classification":
        kind = f"a model for {model.task}" if isinstance(model, SpikingTransformer) else f"a {type(model).__name__}"
        raise ValueError(f"{kind} is not written to NIR: give a classifier of sf.create_model")
    return Graph(fold(model).cpu().float(), dt).made()


class _Neuron(nn.Module):
    """Stands for a neuron while a model is followed."""

    def __init__(self, name: str, neuron: nn.Module):
        super().__init__()
        self.name, self.neuron = name, neuron

    def forward(self, x: Tensor) -> Tensor:
        return x.graph.neuron(self.name, self.neuron, x) if isinstance(x, Signal) else self.neuron(x)


class Graph:
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
            logits: Any = model.forward_steps(self.signal(torch.zeros(STEPS, 1, *shape), ("input",), shape))
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

    def signal(self, x: Tensor, sources: tuple[str, ...], of: tuple[int, ...]) -> Signal:
        with torch._C.DisableTorchFunctionSubclass():
            signal = x.detach().as_subclass(Signal)
        signal.graph, signal.sources, signal.of = self, sources, of
        return signal

    def neuron(self, name: str, z: Any, x: Signal) -> Signal:
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

    def follow(self, name: str, made: Any, signals: list[Signal], args: Any, kwargs: Any) -> Any:
        """What a function made, as signals."""
        x = signals[0]
        if name in _KEEP_ORDER and made.shape[0] == STEPS and made.numel() == x.numel():
            return self.signal(made, x.sources, x.of)
        node = NODES.get(name)
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
