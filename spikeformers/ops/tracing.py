"""Whether a fast implementation may replace the plain one."""

import torch
from torch import Tensor
from torch.autograd import forward_ad


def runs_eagerly(*values: object) -> bool:
    """Whether operations on these values run now, observed by nothing but autograd.

    False while a graph is traced, compiled or exported, inside `torch.func` and forward-mode differentiation, and for
    subclasses of Tensor: these support torch's operations, not buffers filled piece by piece or our autograd functions.
    Fast implementations run only if this is true.
    """
    if torch.compiler.is_compiling():  # first: compilers stop here
        return False
    for x in values:
        if type(x) is not Tensor and isinstance(x, Tensor) and type(x) is not torch.nn.Parameter:
            return False
    proxied = torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.PROXY) is not None
    return not (proxied or torch._C._is_tracing() or transforms_active())


def transforms_active() -> bool:
    """Whether a `torch.func` transform or forward-mode differentiation runs; `requires_grad` may not show it."""
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0
