"""While `without_kernels` is on, torch computes everything, whoever made it."""

import threading
from types import SimpleNamespace

import pytest
import torch

from spikeformers.ops.lif import lif
from spikeformers.ops.lif import native as neurons
from spikeformers.ops.spike_conv import spike_conv2d
from spikeformers.ops.spike_product import Neuron, Window, build, kernels, native, training, without_kernels
from spikeformers.ops.spike_product.product import SpikeProduct, attention, fire, max_pool

pytestmark = pytest.mark.skipif(kernels() is None, reason="this machine has no C++ compiler")


@pytest.fixture
def called(monkeypatch):
    """The names of the kernels that were called."""
    names = []

    class Noted(SimpleNamespace):
        def __getattr__(self, name):
            names.append(name)
            return getattr(build.library(), name)

    for module in (native, training, neurons):
        monkeypatch.setattr(module, "library", Noted)
    return names


def spikes(*shape):
    return (torch.rand(shape) < 0.3).byte()


NEURON = Neuron()
PRODUCT = SpikeProduct(torch.randint(-8, 9, (6, 8, 3, 3)) / 8)
DEPTHWISE = SpikeProduct(torch.randint(-8, 9, (8, 1, 3, 3)) / 8, groups=8)
FORWARD = {
    "product": lambda: PRODUCT(spikes(4, 8, 5, 5), 2, NEURON, current=True)[1],
    "depthwise": lambda: DEPTHWISE(spikes(4, 8, 5, 5), 2)[1],
    "fire": lambda: fire(torch.randint(-8, 9, (4, 2, 8)) / 4, NEURON),
    "max_pool": lambda: max_pool(spikes(4, 8, 4, 4), Window((2, 2), (2, 2))),
    "attention": lambda: attention(*spikes(3, 2, 2, 5, 2, 8).transpose(3, 4), 0.5),
    "lif": lambda: lif(torch.randint(-8, 9, (4, 2, 8)) / 4),
    "conv": lambda: spike_conv2d(
        spikes(2, 32, 5, 5).float(), torch.randint(-8, 9, (6, 32, 3, 3)) / 8, None, (1, 1), (0, 0), (1, 1), 1
    ),
}


@pytest.mark.parametrize("what", FORWARD)
def test_what_was_made_before_is_computed_by_torch(what, called):
    torch.manual_seed(0)
    expected = FORWARD[what]()
    assert called
    called.clear()
    torch.manual_seed(0)
    with without_kernels():
        made = FORWARD[what]()
    assert torch.equal(made, expected) and not called


def test_a_backward_is_computed_by_torch_where_its_forward_was_not(called):
    x = torch.randint(-8, 9, (4, 2, 32, 5, 5)) / 4
    weight = torch.randint(-8, 9, (6, 32, 3, 3)) / 8

    def gradients(block):
        leaves = [x.clone().requires_grad_(), weight.clone().requires_grad_()]
        current = spike_conv2d(lif(leaves[0]).flatten(0, 1), leaves[1], None, (1, 1), (0, 0), (1, 1), 1)
        assert called
        with block:
            called.clear()
            current.square().sum().backward()
        return [leaf.grad for leaf in leaves]

    expected = gradients(torch.enable_grad())
    assert {"sf_weight_grad", "sf_lif_grad"} <= {*called}
    made = gradients(without_kernels())
    assert not called
    for one, other in zip(made, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_blocks_nest_and_end_in_any_order():
    def block():
        with without_kernels():
            yield

    first, second = block(), block()
    for each in (first, second):
        next(each)
    first.close()
    assert kernels() is None
    with pytest.raises(ZeroDivisionError), without_kernels():
        raise ZeroDivisionError
    assert kernels() is None
    second.close()
    assert kernels() is not None


def test_blocks_of_threads_overlap():
    begun, ended = threading.Event(), threading.Event()
    inside = []

    def other():
        with without_kernels():
            begun.set()
            ended.wait(10)
            inside.append(kernels())

    with without_kernels():
        thread = threading.Thread(target=other)
        thread.start()
        begun.wait(10)
    ended.set()
    thread.join()
    assert inside == [None] and kernels() is not None


def test_the_switch_outlives_a_block(monkeypatch):
    monkeypatch.setenv(build.OFF, "1")
    with without_kernels():
        pass
    assert kernels() is None


def test_what_is_compiled_follows_too(called):
    def made(x):
        return fire(PRODUCT(x, 2)[1].unflatten(0, (2, -1)), NEURON)

    x, compiled = spikes(4, 8, 5, 5), torch.compile(made, backend="eager", fullgraph=True)
    expected = made(x)
    for _ in range(2):
        called.clear()
        assert torch.equal(compiled(x), expected) and {"sf_conv", "sf_neuron"} <= {*called}
        called.clear()
        with without_kernels():
            assert torch.equal(compiled(x), expected) and not called
