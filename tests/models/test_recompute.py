"""A lean model computes what it computed, and keeps less."""

import copy

import pytest
import torch
from tiny_models import FAMILIES
from torch.nn.functional import cross_entropy

import spikeformers as sf

every_family = pytest.mark.parametrize("tiny", FAMILIES, indirect=True)


def kept_by(model, x):
    """Bytes that a training forward keeps for backward, without parameters, and the gradients that follow."""
    kept = {}
    parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}
    model.zero_grad()

    def keep(t):
        kept[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        loss = cross_entropy(model(x), torch.arange(len(x[0]) if x.ndim == 5 else len(x)) % model.num_classes)
    loss.backward()
    bytes_kept = sum(size for pointer, size in kept.items() if pointer not in parameters)
    return bytes_kept, loss.detach(), [p.grad for p in model.parameters()]


@every_family
def test_computes_the_same_and_keeps_less(tiny):
    model, x = tiny
    model, x = model.double().train(), x.double()
    lean = sf.recompute_blocks(copy.deepcopy(model))
    kept, loss, gradients = kept_by(model, x)
    kept_lean, loss_lean, gradients_lean = kept_by(lean, x)
    assert torch.equal(loss, loss_lean)
    for a, b in zip(gradients, gradients_lean, strict=True):
        assert torch.allclose(a, b, rtol=1e-9, atol=1e-12 + 1e-9 * a.abs().max().item())
    for (key, ours), theirs in zip(lean.state_dict().items(), model.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs), key
    assert kept_lean < 0.7 * kept  # with a block or two, of which the last is kept
    assert torch.equal(lean.eval()(x), model.eval()(x))


def test_a_deep_model_keeps_a_fraction():
    model = sf.create_model("spikformer_4_384_cifar10", dim=32, depth=8, num_heads=2, image_size=16).train()
    x = torch.randn(2, 3, 16, 16)
    assert kept_by(sf.recompute_blocks(copy.deepcopy(model)), x)[0] < kept_by(model, x)[0] / 4


def test_two_forwards_before_one_backward():
    model = sf.create_model("spikformer_4_384_cifar10", dim=32, depth=2, num_heads=2, image_size=16).train()
    lean = sf.recompute_blocks(copy.deepcopy(model))
    first, second = torch.randn(2, 3, 16, 16), torch.randn(2, 3, 16, 16)
    for m in (model, lean):
        (m(first) - m(second)).square().sum().backward()
    assert all(torch.equal(a.grad, b.grad) for a, b in zip(model.parameters(), lean.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(model.buffers(), lean.buffers(), strict=True))


def test_a_copy_of_a_lean_model_is_lean_by_itself():
    model = sf.recompute_blocks(
        sf.create_model("spikformer_4_384_cifar10", dim=32, depth=1, num_heads=2, image_size=16)
    ).train()
    twin = copy.deepcopy(model)
    twin(torch.randn(2, 3, 16, 16)).sum().backward()
    assert all(p.grad is None for p in model.parameters())
    assert all(p.grad is not None for p in twin.parameters())


def test_drop_path_drops_the_same_twice():
    model = sf.create_model(
        "spikformer_4_384_cifar10", dim=32, depth=2, num_heads=2, image_size=16, drop_path=0.5
    ).train()
    lean, x = sf.recompute_blocks(copy.deepcopy(model)), torch.randn(4, 3, 16, 16)
    for m in (model, lean):
        torch.manual_seed(3)
        m(x).square().sum().backward()
    assert all(torch.equal(a.grad, b.grad) for a, b in zip(model.parameters(), lean.parameters(), strict=True))
