"""Integer neurons in 16 bits give what they give in 32, rounded."""

import pytest
import torch

from spikeformers.neurons import IntegerHalfEven


class InFloat32(IntegerHalfEven):
    _sixteen_bits_do = False


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("max_count", [1, 3, 4, 255, 256, 300])
@pytest.mark.parametrize("unit", [None, 1.0, 1 / 3])
def test_sixteen_bits_do(dtype, max_count, unit):
    torch.manual_seed(0)
    steps, ends = torch.arange(-4, 2 * max_count + 4) / 2, torch.tensor([float("inf"), -float("inf"), -0.0])
    x = torch.cat([torch.randn(5000) * max_count, steps, ends]).to(dtype).requires_grad_()
    upstream = torch.randn(x.shape).to(dtype)
    fast, plain = (kind(max_count=max_count, unit=unit)(x) for kind in (IntegerHalfEven, InFloat32))
    assert fast.dtype == dtype and torch.equal(fast, plain)
    assert torch.equal(*(torch.autograd.grad(y, x, upstream)[0] for y in (fast, plain)))
