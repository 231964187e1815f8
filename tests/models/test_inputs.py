"""What a model says to an input that it cannot take: one line, with what it wants."""

import numpy as np
import pytest
import torch
from tiny_models import FAMILIES, TINY, build

from spikeformers.neurons import CLIF, IF, LIF, SlidingPSN


@pytest.mark.parametrize("name", TINY)
def test_an_input_of_another_dtype_or_of_nothing(name):
    model = build(name).eval()
    shape = (2, model.in_channels, model.image_size, model.image_size)
    for dtype in (torch.uint8, torch.int64, torch.bool):
        with pytest.raises(ValueError, match=rf"^an input of {dtype} .* of torch.float32: .* like .*1 / 255\)$"):
            model(torch.ones(shape, dtype=dtype))
    for dtype in (torch.float64, torch.float16, torch.bfloat16):
        with pytest.raises(ValueError, match=rf"^an input of {dtype} .* of torch.float32: use x.to\(torch.float32\)$"):
            model(torch.ones(shape, dtype=dtype))
    for nothing in ((0, *shape), (2, *shape[:2], 0, 0), (*shape[:2], 0, shape[-1])):
        with pytest.raises(ValueError, match=r"^an input of shape .* has no steps or no pixels: give at least one .*$"):
            model(torch.ones(nothing))
    with pytest.raises(TypeError, match=r"^the model takes a Tensor and got a ndarray: use torch.as_tensor.*$"):
        model(np.ones(shape, dtype=np.float32))


@pytest.mark.parametrize("name", FAMILIES)
def test_remedies_are_accepted(name):
    model = build(name).eval()
    pictures = torch.randint(0, 256, (2, model.in_channels, model.image_size, model.image_size), dtype=torch.uint8)
    images = pictures.to(torch.float32) / 255
    assert model(images).isfinite().all()
    assert model(torch.ones(0, *images.shape[1:])).shape == (0, model.num_classes)
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast("cpu", dtype):
            assert model(images.to(dtype)).isfinite().all()  # autocast takes either
            with pytest.raises(ValueError, match="float64"):
                model(images.double())
    assert model.double()(images.double()).dtype == torch.float64


@pytest.mark.parametrize("neuron", [LIF, IF, CLIF, SlidingPSN])
def test_a_neuron_without_a_step(neuron):
    with pytest.raises(ValueError, match=r"^a neuron got no step, of shape \[0, 3\]: .*T 1 or more$"):
        neuron()(torch.ones(0, 3))
