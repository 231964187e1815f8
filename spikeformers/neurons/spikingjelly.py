"""SpikingJelly's multi-step neurons, without state between calls and with detached resets."""

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
    """Wraps a SpikingJelly neuron for `neuron=`.

        create_model("spikformer_4_384_cifar10", neuron=from_spikingjelly(neuron.ParametricLIFNode, init_tau=3.0))

    Args:
        cls: A SpikingJelly class or its name.
        **arguments: Arguments of the class, and `levels` and `causal` of `SpikingJellyNeuron`.

    Returns:
        A callable that makes `SpikingJellyNeuron`s.

    Raises:
        ImportError: SpikingJelly is not installed.
        ValueError: The class is unknown or cannot run all steps at once.
    """
    make = functools.partial(SpikingJellyNeuron, cls if isinstance(cls, str) else _name(cls), **arguments)
    _arguments(make.args[0])
    return make


class SpikingJellyNeuron(nn.Module):
    """A multi-step neuron of SpikingJelly 2, reset before and after every call: `[T, ...] current -> [T, ...]`.

    `node` is a class name in `spikingjelly.activation_based.neuron`, or `package.module:Name`. `levels` and `causal`
    describe that neuron, as SpikingJelly's neurons do not declare them. Released code: equal, it is SpikingJelly's.

    Raises ImportError without SpikingJelly; ValueError for an unknown class, for one that cannot run all steps at once,
    and for one without `v_threshold` in a part that sets it.
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
                    f"{cls.__name__} has no v_threshold, and the part sets it to {v_threshold}: use another neuron"
                )
            check_finite(v_threshold=v_threshold)
            arguments = {**arguments, "v_threshold": float(v_threshold)}  # SpikingJelly asserts the type
        own_way = {"step_mode": "m", "detach_reset": True, "T": time_steps}
        self.node = cls(**{**{name: value for name, value in own_way.items() if name in known}, **arguments})
        self.levels, self.causal = tuple(levels), causal

    def forward(self, x: Tensor) -> Tensor:
        self._clear()
        spikes = self.node(x.to(torch.promote_types(x.dtype, torch.float32))).to(
            x.dtype
        )  # its state takes the input's dtype
        self._clear()  # state left in the module would break copies and keep the graph alive
        return spikes

    @property
    def remembers(self) -> tuple[str, ...]:
        """The variables that the node keeps, by their names in it."""
        return tuple(f"{name}.{kept}".lstrip(".") for name, _, kept in self._kept())

    def initial(self, x: Tensor) -> tuple[Tensor, ...]:
        self._clear()
        begins = [getattr(module, kept) for _, module, kept in self._kept()]
        self.node(torch.zeros_like(x, dtype=torch.promote_types(x.dtype, torch.float32))[None])
        after = [getattr(module, kept) for _, module, kept in self._kept()]
        self._clear()
        for kept, begin, made in zip(self.remembers, begins, after, strict=True):
            if not isinstance(begin, float | int) or not isinstance(made, Tensor):
                raise ValueError(
                    f"{type(self.node).__name__} keeps {kept}, {begin!r} at first, which is not one number per neuron: "
                    "use one of our neurons, such as LIF, in a stream"
                )
        return tuple(torch.full_like(made, begin) for begin, made in zip(begins, after, strict=True))

    def step(self, x: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        for (_, module, kept), value in zip(self._kept(), state, strict=True):
            setattr(module, kept, value)
        spikes = self.node(x.to(torch.promote_types(x.dtype, torch.float32))[None])[0].to(x.dtype)
        after = [getattr(module, kept) for _, module, kept in self._kept()]
        self._clear()
        return spikes, *after

    def _kept(self) -> list[tuple[str, nn.Module, str]]:
        return [(n, m, kept) for n, m in self.node.named_modules() for kept in getattr(m, "_memories", ())]

    def _clear(self) -> None:
        # Not `functional.reset_net`: it caches the modules of the first call and misses later ones.
        for module in self.node.modules():
            if callable(clear := getattr(module, "reset", None)):
                clear()


def _name(cls: type[nn.Module]) -> str:
    ours = cls.__module__.startswith("spikingjelly.activation_based.neuron")
    return cls.__name__ if ours else f"{cls.__module__}:{cls.__qualname__}"


def _arguments(name: str) -> tuple[Callable[..., nn.Module], set[str]]:
    """The class of a name, and the names of its arguments."""
    module, _, attribute = name.rpartition(":")
    try:
        cls = getattr(importlib.import_module(module or "spikingjelly.activation_based.neuron"), attribute, None)
    except ImportError as error:
        if module:
            raise ImportError(
                f"{name} cannot be imported ({error}): give MODULE:CLASS of a module that Python finds"
            ) from None
        raise ImportError(f"{name} needs SpikingJelly 2: pip install 'spikeformers[spikingjelly]' ({error})") from error
    if not (inspect.isclass(cls) and issubclass(cls, nn.Module)):
        raise ValueError(f"SpikingJelly has no neuron {name!r}: choose a class of spikingjelly.activation_based.neuron")
    known = set(inspect.signature(cls.__init__).parameters)
    if not known & {"step_mode", "T"}:
        raise ValueError(f"{cls.__name__} runs one step at a time only: choose a neuron with step_mode 'm'")
    return cls, known
