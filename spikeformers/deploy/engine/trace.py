"""A folded model as a graph of torch's operations, in which every neuron is one node."""

import copy
import math
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import Dim

from spikeformers.models import SpikingTransformer
from spikeformers.models.dense import DenseTransformer
from spikeformers.models.folding import fold
from spikeformers.neurons import IELIF, IF, ILIF, KLIF, LIF, NILIF, PLIF, IntegerHalfEven, IntegerHalfUp
from spikeformers.ops.spike_product.neuron import INTEGER, Neuron


@torch.library.custom_op("spikeformers::traced_neuron", mutates_args=())
def traced_neuron(x: Tensor, number: int) -> Tensor:
    """Stands for a neuron while a model is traced: the `number`-th of those found."""
    raise RuntimeError("this neuron is only traced")


@traced_neuron.register_fake
def _(x: Tensor, number: int) -> Tensor:
    return torch.empty_like(x)


class _Traced(nn.Module):
    def __init__(self, number: int):
        super().__init__()
        self.number = number

    def forward(self, x: Tensor) -> Tensor:
        return traced_neuron(x, self.number)


def neuron_of(module: nn.Module) -> Neuron | None:
    """What the kernels need to know of a neuron of ours; None for any other module, and for a neuron without kernels.

    Subclasses may do more than the class they come from, and are not taken for it.
    """
    z: Any = module
    kind = type(module)
    if kind is IF:
        return Neuron(tau=math.inf, threshold=z.v_threshold, v_reset=z.v_reset, decay_input=False)
    if kind in (LIF, PLIF, KLIF):
        return Neuron(
            tau=float(1 + torch.exp(-z.w.detach())) if kind is PLIF else z.tau,
            threshold=z.v_threshold,
            v_reset=z.v_reset,
            decay_input=z.decay_input,
            gain=float(z.k.detach()) if kind is KLIF else 0.0,
        )
    if kind not in (IELIF, ILIF, NILIF, IntegerHalfEven, IntegerHalfUp) or z.max_count > 255:
        return None
    integer = dict(threshold=z.v_threshold, v_reset=None, top=z.max_count, unit=z.unit)
    if kind is ILIF:
        return Neuron(INTEGER, tau=z.tau, decay_input=False, **integer)
    return Neuron(INTEGER, membrane=False, half_up=issubclass(kind, IntegerHalfUp), **integer)


class _Outputs(nn.Module):
    """The stream after the last block, and the logits at every step."""

    def __init__(self, model: SpikingTransformer):
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.model.forward_features(x)
        return features, self.model.head(features)


class _Levels(nn.Module):
    """The pyramid of a detector or segmenter: its trunk and neck."""

    def __init__(self, model: SpikingTransformer):
        super().__init__()
        self.model: Any = model

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.model.forward_pyramid(x))


def trace(model: SpikingTransformer, x: Tensor) -> tuple[fx.Graph, dict[str, Tensor], list[Neuron], list[str]]:
    """The graph of a folded copy, its constants by name, its neurons by number, and names of neurons left to torch.

    `x` is `[B, C, H, W]` or `[T, B, C, H, W]`; B may be another when the graph is run. A detector is traced as far as
    its pyramid.
    """
    folded = fold(copy.deepcopy(model).cpu().float())
    if isinstance(folded, DenseTransformer):
        folded.head = nn.Identity()
    neurons: list[Neuron] = []
    foreign: list[str] = []
    for name, module in list(folded.named_modules()):
        if (neuron := neuron_of(module)) is not None:
            parent, _, last = name.rpartition(".")
            setattr(folded.get_submodule(parent), last, _Traced(len(neurons)))
            neurons.append(neuron)
        elif hasattr(module, "levels"):
            foreign.append(f"{name} ({type(module).__name__})")
    x = torch.zeros(*x.shape[:-4], max(2, x.shape[-4]), *x.shape[-3:])
    batch: Any = {x.ndim - 4: Dim.DYNAMIC}
    with torch.no_grad():
        outputs = _Levels if isinstance(folded, DenseTransformer) else _Outputs
        exported = torch.export.export(outputs(folded).eval(), (x,), dynamic_shapes=(batch,), strict=False)
    if any(map(_writes, exported.graph.nodes)):
        exported = exported.run_decompositions({})  # into operations that return what they write
    signature = exported.graph_signature
    constants: dict[str, Tensor] = {}
    stored: Any = {**exported.constants, **exported.state_dict}
    for spec in signature.input_specs:
        if spec.target is None:
            continue
        constants[spec.arg.name] = stored[spec.target].detach().clone()
    return exported.graph, constants, neurons, foreign


def _writes(node: fx.Node) -> bool:
    """Whether an operation writes into its input. Through a view, nobody would seem to read what it returns."""
    schema = getattr(node.target, "_schema", None)
    return schema is not None and schema.is_mutable and node.target is not torch.ops.aten.detach_.default
