"""States that neurons of other libraries keep between calls. This library's neurons keep none."""

import inspect
from collections.abc import Iterable
from typing import Any

from torch import nn

_LIBRARIES = ("spikingjelly", "snntorch")


def resettable(module: nn.Module) -> Any:
    """A module's own method that clears its state, `reset()` or snnTorch's `reset_mem()`, or None."""
    for name in ("reset", "reset_mem"):
        if callable(method := getattr(module, name, None)):
            needed = [p for p in inspect.signature(method).parameters.values() if p.default is p.empty]
            if all(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in needed):
                return method
    return None


def reset_states(model: nn.Module) -> None:
    """What SpikingJelly's `functional.reset_net` and snnTorch's `utils.reset` do."""
    _reset(model.modules())


def reset_neurons(model: nn.Module) -> None:
    """`reset_states` for neurons of those libraries and what is derived from them: another's `reset` may do more."""
    _reset(module for module in model.modules() if _is_theirs(module))


def _is_theirs(module: nn.Module) -> bool:
    return any(kind.__module__.partition(".")[0] in _LIBRARIES for kind in type(module).__mro__)


def _reset(modules: Iterable[nn.Module]) -> None:
    for module in modules:
        if clear := resettable(module):
            clear()
