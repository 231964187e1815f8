"""Training keeps one layout: where layouts meet, norms, sums and convolutions take many times as long on a CPU."""

import pytest
import torch
from tiny_models import TINY, build
from torch.utils._python_dispatch import TorchDispatchMode

from spikeformers.training.module import channels_last


class NormGradients(TorchDispatchMode):
    """Collects the shapes of norms whose gradient is laid out otherwise than their input."""

    def __init__(self):
        super().__init__()
        self.seen, self.otherwise = 0, []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.native_batch_norm_backward.default:
            grad, x = args[:2]
            self.seen += 1
            if grad.stride() != x.stride() and x.is_contiguous(memory_format=torch.channels_last):
                self.otherwise.append((tuple(x.shape), grad.stride(), x.stride()))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("neuron", ["LIF", "IntegerHalfEven"])
@pytest.mark.parametrize("name", TINY)
def test_norms_get_gradients_laid_out_as_their_input(name, neuron):
    model = channels_last(build(name, neuron=neuron)).train()
    size = model.image_size
    images = torch.rand(2, model.in_channels, size, size).contiguous(memory_format=torch.channels_last)
    loss = model(images).square().sum()
    with NormGradients() as norms:
        loss.backward()
    assert norms.seen
    assert not norms.otherwise
