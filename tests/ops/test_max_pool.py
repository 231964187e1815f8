"""Max pooling against torch's: values, gradients to the same pixel, and what is kept."""

from functools import partial
from random import Random

import pytest
import torch
from torch import nn
from torch.nn.functional import max_pool2d as torchs

from spikeformers.layers.pool import MaxPool
from spikeformers.ops.max_pool import max_pool2d


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize(
    ("size", "settings"), [((8, 8), (3, 2, 1)), ((7, 9), (3, 1, 1)), ((1, 1), (3, 2, 1)), ((6, 4), (2, 2, 0))]
)
def test_values_and_gradients_are_torchs(channels_last, dtype, size, settings):
    x = (torch.rand(2, 5, *size) < 0.4).to(dtype)  # spikes: many ties, of which the first gets the gradient
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    results = []
    for pool in (max_pool2d, torchs):
        x = x.detach().requires_grad_()
        y = pool(x, *settings)
        results.append((y, *torch.autograd.grad((y * torch.arange(y.numel()).view(y.shape)).sum(), x)))
    for ours, expected in zip(*results, strict=True):
        assert torch.equal(ours, expected)
        assert size == (1, 1) or ours.stride() == expected.stride()  # those of one pixel mean nothing


def test_many_samples_go_in_pieces(monkeypatch):
    monkeypatch.setattr("spikeformers.ops.max_pool._TOGETHER", 40)
    x = torch.randn(7, 3, 6, 6).contiguous(memory_format=torch.channels_last).requires_grad_()
    y, expected = max_pool2d(x, 3, 2, 1), torchs(x, 3, 2, 1)
    weights = torch.randn_like(y)
    gradients = [torch.autograd.grad((pooled * weights).sum(), x)[0] for pooled in (y, expected)]
    assert torch.equal(y, expected)
    assert torch.equal(*gradients)
    assert y.stride() == expected.stride()


def test_a_map_of_more_pixels_than_two_bytes_count():
    x = torch.zeros(1, 1, 260, 260, requires_grad=True)
    with torch.no_grad():
        x[0, 0, 259, 258] = 1
    max_pool2d(x, 2, 2, 0)[0, 0, -1, -1].backward()
    assert x.grad[0, 0, 259, 258] == 1 == x.grad.sum()


def test_what_backward_keeps():
    x = torch.randn(2, 4, 16, 16, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.nbytes) or t, lambda t: t):
        y = MaxPool(3, 2, padding=1)(x)
    assert sum(kept) == 2 * y.numel()


def test_without_a_gradient_it_is_torchs():
    x = torch.randn(2, 4, 8, 8)
    assert torch.equal(MaxPool(3, 2, padding=1)(x), torchs(x, 3, 2, 1))


def drawn(random):
    """Arguments of a pool and an input's shape, sensible or not."""

    def size(*choices):
        return random.choice(choices) if random.random() < 0.6 else (random.choice(choices), random.choice(choices))

    arguments = dict(kernel_size=size(1, 2, 3, 4), padding=size(0, 0, 1, 2), dilation=size(1, 1, 2, 3))
    if random.random() < 0.8:
        arguments["stride"] = size(1, 2, 3, 5)
    arguments["ceil_mode"], arguments["return_indices"] = random.random() < 0.5, random.random() < 0.2
    height, width = random.randint(1, 12), random.randint(1, 12)
    return arguments, random.choice([(2, 3, height, width), (3, height, width), (0, 3, height, width)])


def outcome(make, x):
    """What a pool answers, `y` or `(y, indices)`, and the gradient of its input; or that it refuses."""
    x = x.detach().requires_grad_()
    try:
        answer = make()(x)
    except RuntimeError as error:
        return [str(error)]
    y, *indices = answer if isinstance(answer, tuple) else (answer,)
    return [y, *indices, *torch.autograd.grad((y * torch.arange(y.numel()).view(y.shape)).sum(), x)]


def sees_nothing(make, x):
    """Whether some window lies outside of the map: torch's backward would write outside of its memory."""
    try:
        answer = make()(torch.zeros(1, *x.shape[-3:]))
    except RuntimeError:
        return False
    return bool((answer[0] if isinstance(answer, tuple) else answer).isinf().any())


@pytest.mark.parametrize("seed", range(40))
def test_whatever_the_arguments_training_is_evaluation_is_torchs(seed):
    random = Random(seed)
    for _ in range(10):
        arguments, shape = drawn(random)
        x = torch.randint(0, 4, shape).double()
        if x.ndim == 4 and random.random() < 0.5:
            x = x.contiguous(memory_format=torch.channels_last)
        pools = [partial(pool, **arguments) for pool in (MaxPool, nn.MaxPool2d)]
        if sees_nothing(pools[1], x):
            for seen in (x, x.clone().requires_grad_()):
                with pytest.raises(ValueError, match=r"sees none of .* pixels: give less padding"):
                    pools[0]()(seen)
            continue
        ours, expected = (outcome(pool, x) for pool in pools)
        assert len(ours) == len(expected), arguments
        for found, wanted in zip(ours, expected, strict=True):
            assert torch.equal(found, wanted) if isinstance(wanted, torch.Tensor) else found == wanted, arguments
        if len(ours) > 1:
            evaluated = MaxPool(**arguments)(x)
            assert torch.equal(evaluated[0] if isinstance(evaluated, tuple) else evaluated, ours[0]), arguments
