"""When a fast way of computing something may stand in for the plain one."""

import torch
from torch import Tensor
from torch.autograd import forward_ad


def runs_eagerly(*values: object) -> bool:
    """Whether operations on these values compute numbers here and now, and nobody but autograd looks on.

    False while a graph is traced, compiled or exported, inside `torch.func` and forward-mode differentiation, and for
    subclasses of Tensor: these know torch's own operations, not memory that is filled piece by piece, nor autograd
    functions of ours. What is fast asks here, and leaves them the plain way.
    """
    if torch.compiler.is_compiling():  # first, so that compilers read no further
        return False
    for x in values:
        if type(x) is not Tensor and isinstance(x, Tensor) and type(x) is not torch.nn.Parameter:
            return False
    proxied = torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.PROXY) is not None
    return not (proxied or torch._C._is_tracing() or transforms_active())


def transforms_active() -> bool:
    """Whether a `torch.func` transform or forward-mode differentiation runs: `requires_grad` need not tell of them."""
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0
