"""Run counts of spikes as binary steps: an integer network as the spiking one that it stands for."""

from collections.abc import Iterator
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.utils._pytree import tree_map

from spikeformers.deploy.steps import Steps, in_order, plain
from spikeformers.layers.contracts import COUNTS, declared
from spikeformers.models.folding import fold

Model = TypeVar("Model", bound=nn.Module)


def unroll(model: Model) -> Model:
    """Copies a model for inference in binary steps: a count of up to D becomes D steps of 0 or 1, T steps T x D.

        binary = sf.deploy.unroll(model)
        sf.analysis.audit(sf.analysis.profile(binary, batches))  # every product: binary

    The copy answers as the model does, up to rounding. Where a neuron with levels 0, u, ..., D u emits the count n, its
    copy fires at the first n of D steps. The value of a spike, u, goes into the weights of whatever reads it. The next
    neuron adds up the steps of one count before it fires, so a bias enters once. A product of two counts pairs every
    step of one with every step of the other; a sum of counts after a SEW shortcut has the steps of all of them. Where a
    part does something else with counts, such as subtracting them from 1, it gets the counts.

    Energy by the convention `integer` stays what it is, because a count of n costs n additions at each synapse there.
    Other conventions change, because they take a count for one spike (`sdt`), for its value (`spikformer`) or for a
    multiplication (`spikingformer`). A product of counts n and m is n m additions of 1, not n of m; and a neuron
    compares at each of the D steps (`strict`).

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
    return tree_map(plain, output)


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
        return in_order((self.counts(x) / self.unit).round(), self.sub_steps, 1).flatten(0, 1)


class _Neuron(nn.Module):
    """A neuron between currents and steps."""

    def __init__(self, neuron: nn.Module):
        super().__init__()
        self.spikes = BinarySteps(neuron) if _steps_of(neuron) else neuron

    def forward(self, x: Tensor | Steps) -> Tensor | Steps:
        spikes = self.spikes(plain(x))
        if not isinstance(self.spikes, BinarySteps):
            return spikes
        steps = spikes.unflatten(0, (-1, self.spikes.sub_steps)).transpose(0, 1)
        return Steps(steps, self.spikes.unit, binary=True, in_order=True)
