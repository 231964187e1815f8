"""SpikingJelly's multi-step neurons as ours: no state survives a call, resets are detached."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from spikeformers.ops.arguments import check_finite, check_whole


def from_spikingjelly(cls: type[nn.Module] | str, **arguments: Any) -> Callable[..., SpikingJellyNeuron]:
    """One of SpikingJelly's neurons for `neuron=`: `from_spikingjelly(neuron.ParametricLIFNode, init_tau=3.0)`.

    `cls` is a class of SpikingJelly's, or its name. The result is called by the parts, with a threshold where they
    ask for one. Raises what `SpikingJellyNeuron` raises, and at once.
    """
    make = functools.partial(SpikingJellyNeuron, cls if isinstance(cls, str) else _name(cls), **arguments)
    _arguments(make.args[0])
    return make


class SpikingJellyNeuron(nn.Module):
    """A multi-step neuron of SpikingJelly 2, cleared before and after every call: `[T, ...] current -> [T, ...]`.

    `node` is a class name in `spikingjelly.activation_based.neuron`, or `package.module:Name`; `levels` and `causal`
    are what that neuron declares, since SpikingJelly's do not say.

    Raises ImportError without SpikingJelly, ValueError for an unknown class, one that cannot run over all steps at
    once, and one whose threshold cannot be set where a part asks for a threshold of its own.
    """

    def __init__(
        self,
        node: str,
        *,
        v_threshold: float | None = None,
        time_steps: int | None = None,
        levels: tuple[float, ...] = (0.0, 1.0),
        causal: bool = True,
        **arguments: Any,
    ):
        super().__init__()
        cls, known = _arguments(node)
        if time_steps is not None:
            check_whole(time_steps=time_steps)
        if v_threshold is not None:
            if "v_threshold" not in known:
                raise ValueError(
                    f"{cls.__name__} has no v_threshold, but its place asks for {v_threshold}: use another"
                )
            check_finite(v_threshold=v_threshold)
            arguments = {**arguments, "v_threshold": float(v_threshold)}  # it asserts the type
        own_way = {"step_mode": "m", "detach_reset": True, "T": time_steps}
        self.node = cls(**{**{name: value for name, value in own_way.items() if name in known}, **arguments})
        self.levels, self.causal = tuple(levels), causal

    def forward(self, x: Tensor) -> Tensor:
        self._clear()
        spikes = self.node(x.to(torch.promote_types(x.dtype, torch.float32))).to(x.dtype)  # they keep the input's dtype
        self._clear()  # also behind: a state left in the module would break copies and keep the graph alive
        return spikes

    def _clear(self) -> None:
        # Not `functional.reset_net`: it caches the modules it found the first time, and misses later ones.
        for module in self.node.modules():
            if callable(clear := getattr(module, "reset", None)):
                clear()


def _name(cls: type[nn.Module]) -> str:
    ours = cls.__module__.startswith("spikingjelly.activation_based.neuron")
    return cls.__name__ if ours else f"{cls.__module__}:{cls.__qualname__}"


def _arguments(name: str) -> tuple[Callable[..., nn.Module], set[str]]:
    """The class behind a name, and the arguments it takes."""
    module, _, attribute = name.rpartition(":")
    try:
        cls = getattr(importlib.import_module(module or "spikingjelly.activation_based.neuron"), attribute, None)
    except ImportError as error:
        raise ImportError(f"{name} needs SpikingJelly 2: pip install 'spikeformers[spikingjelly]' ({error})") from error
    if not (inspect.isclass(cls) and issubclass(cls, nn.Module)):
        raise ValueError(f"SpikingJelly has no neuron {name!r}: see spikingjelly.activation_based.neuron")
    known = set(inspect.signature(cls.__init__).parameters)
    if not known & {"step_mode", "T"}:
        raise ValueError(f"{cls.__name__} runs one step at a time only: choose a neuron with step_mode 'm'")
    return cls, known
