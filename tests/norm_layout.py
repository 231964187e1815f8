"""Whether training keeps one layout: where layouts meet, norms and sums take many times as long on a CPU."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class NormGradients(TorchDispatchMode):
    """Collects the norms whose input is laid out channels last and whose gradient is not."""

    def __init__(self):
        super().__init__()
        self.seen, self.otherwise = 0, []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.native_batch_norm_backward.default:
            grad, x = args[:2]
            self.seen += 1
            if _is_last(x) and not _is_last(grad):
                self.otherwise.append((tuple(x.shape), grad.stride(), x.stride()))
        return func(*args, **(kwargs or {}))


def _is_last(x):
    return x.is_contiguous(memory_format=torch.channels_last)


def last(x):
    return x.contiguous(memory_format=torch.channels_last)


def check_layout(loss):
    with NormGradients() as norms:
        loss.backward()
    assert norms.seen
    assert not norms.otherwise
