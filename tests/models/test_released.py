"""Ours against what the released code computes, in float64. The figures were made by running that code; how the
weights and inputs are drawn from their names is part of the figures' definition (README of the golden vectors)."""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

import spikeformers as sf

CASES = json.loads((Path(__file__).parent / "released" / "spikformer.json").read_text())
SMALL = dict(dim=64, depth=2, num_heads=4, num_classes=10)
BUILT_AS = {
    "spikformer_cifar_small": ("spikformer_4_384_cifar10", SMALL),
    "spikformer_dvs_small": ("spikformer_2_256_cifar10dvs", SMALL),
    "spikformer_imagenet_small": ("spikformer_8_384", SMALL),
}


def drawn(key: str, shape: list[int], siblings: dict) -> torch.Tensor:
    z = np.random.RandomState(zlib.crc32(f"0:{key}".encode())).standard_normal(tuple(shape))
    name = key.rpartition(".")[2]
    if name == "running_mean":
        z = 0.1 * z
    elif name == "running_var":
        z = np.exp(0.2 * z)
    elif "pos_embed" in name:
        z = 0.02 * z
    elif name == "weight" and len(shape) == 1:
        z = 1.4 + 0.15 * z
    elif name == "bias" and key.removesuffix("bias") + "running_mean" in siblings:
        z = 0.5 + 0.3 * z
    elif name == "bias":
        z = 0.1 * z
    else:
        z = z / np.sqrt(np.prod(shape[1:]))
    return torch.from_numpy(np.asarray(z))


@pytest.fixture(params=sorted(CASES))
def case(request, tmp_path):
    """A model with a released file's weights, loaded through `load_checkpoint`, its input, and the figures."""
    figures = CASES[request.param]
    released = {key: drawn(key, shape, figures["state_dict"]) for key, shape in figures["state_dict"].items()}
    path = tmp_path / "released.pth.tar"
    torch.save({"state_dict": {f"module.{key}": value for key, value in released.items()}, "epoch": 3}, path)
    name, numbers = BUILT_AS[request.param]
    model = sf.load_checkpoint(sf.create_model(name, **numbers).double(), path)

    random, shape = np.random.RandomState(12345), figures["input"]
    if len(shape) == 5:
        x = torch.from_numpy(random.poisson(0.3, shape).astype(float)).transpose(0, 1)  # events come batch first
    else:
        x = torch.from_numpy(random.standard_normal(shape))
    return model, x, figures


def test_released_logits(case):
    model, x, figures = case
    logits = model.eval()(x).detach()
    assert torch.allclose(logits[:, :10], torch.tensor(figures["logits"], dtype=torch.float64), rtol=0, atol=1e-6)
    assert logits.sum().item() == pytest.approx(figures["logits_sum"], abs=1e-6)


def test_released_training_loss_and_gradients(case):
    model, x, figures = case
    loss = cross_entropy(model.train()(x), torch.arange(len(figures["logits"])) % 2)
    loss.backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    norm = torch.stack([g.square().sum() for g in gradients.values()]).sum().sqrt().item()
    assert loss.item() == pytest.approx(figures["train_loss"], rel=1e-5)
    assert norm == pytest.approx(figures["grad_norm"], rel=1e-5)

    from spikeformers.models._registry import find_family
    from spikeformers.models._released import translate

    family = find_family("spikformer")
    for key, expected in figures["grad_norms"].items():
        (ours,) = translate({key: torch.zeros(1)}, family, {})
        assert gradients[ours].norm().item() == pytest.approx(expected, rel=1e-5), key


def test_parameters_in_use(case):
    model, _, figures = case
    assert sum(p.numel() for p in model.parameters()) == figures["num_params"] - figures["num_unused_params"]
