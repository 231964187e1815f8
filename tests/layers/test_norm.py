"""Batch norm that is told of repeats, and what it notes."""

import copy

import pytest
import torch
from torch import nn

from spikeformers.layers.conv import ConvNorm, PooledConvNorm
from spikeformers.layers.norm import batch_norm
from spikeformers.ops.notes import Recipe, noted


@pytest.mark.parametrize("make", [lambda: ConvNorm(3, 8, 3, bias=True), lambda: PooledConvNorm(3, 8, 3, 2)])
@pytest.mark.parametrize("training", [True, False])
def test_an_image_at_every_step_is_computed_once_and_exactly(make, training, monkeypatch):
    image = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    part = make().double().train(training)
    twin = copy.deepcopy(part)
    seen = []
    part.conv.register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
    y, wanted = part(image.expand(5, *image.shape)), twin(image.repeat(5, 1, 1, 1, 1))
    assert seen == [2]
    assert torch.allclose(y, wanted, rtol=1e-12, atol=1e-12)
    for ours, theirs in zip(part.state_dict().values(), twin.state_dict().values(), strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-12, atol=1e-12)
    weights = torch.randn_like(y)
    (y * weights).sum().backward()
    (wanted * weights).sum().backward()
    for ours, theirs in zip(part.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(ours.grad, theirs.grad, rtol=1e-9, atol=1e-12)


def test_an_input_that_wants_a_gradient_gets_each_steps_own():
    part, image = ConvNorm(3, 8, 3), torch.randn(2, 3, 6, 6)
    shown = image.expand(5, *image.shape).detach().requires_grad_()
    (part(shown)[2] ** 2).sum().backward()
    assert shown.grad[2].abs().sum() > 0 and not torch.equal(shown.grad[0], shown.grad[2])


def test_a_sequence_is_not_taken_for_an_image():
    part = ConvNorm(3, 8, 3).eval()
    frames = torch.randn(5, 2, 3, 6, 6)
    steps = part(frames)
    assert torch.allclose(steps[3], part(frames[3:4])[0], atol=1e-6)
    assert not torch.allclose(steps[3], steps[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_recipe_makes_the_output_again(dtype):
    norm = nn.BatchNorm2d(8)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = torch.randn(3, 2, 8, 5, 5).to(dtype).requires_grad_()
    y = batch_norm(norm, x)
    made_of, scale, shift = noted(y, Recipe)
    again = torch.addcmul(shift, made_of.float(), scale).to(dtype)
    assert made_of.data_ptr() == x.data_ptr()
    assert torch.allclose(again.float(), y.float(), atol=1e-6 if dtype == torch.float32 else 0.04)
    y.detach().add_(1)
    assert noted(y, Recipe) is None


def test_running_statistics_are_torchs():
    x = torch.randn(4, 2, 8, 5, 5)
    ours, theirs = nn.BatchNorm2d(8), nn.BatchNorm2d(8)
    y = batch_norm(ours, x)
    assert torch.equal(y.flatten(0, 1), theirs(x.flatten(0, 1)))
    assert all(torch.equal(a, b) for a, b in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True))


def test_one_number_a_channel_has_no_variance():
    norm = nn.BatchNorm2d(4)
    with pytest.raises(ValueError, match="one number per channel, which has no variance"):
        batch_norm(norm, torch.ones(1, 1, 4, 1, 1))
    assert norm.running_var.isfinite().all()
    assert batch_norm(norm.eval(), torch.ones(1, 1, 4, 1, 1)).isfinite().all()


def test_one_pixel_shown_at_every_step_does_not_vary():
    seen = []
    for shown in (
        torch.randn(1, 1, 3, 2, 2).expand(4, -1, -1, -1, -1),
        torch.randn(1, 1, 3, 2, 2).repeat(4, 1, 1, 1, 1),
    ):
        conv = ConvNorm(3, 8, 2, 2)
        conv(shown)
        seen.append(conv.norm.running_var)
    assert torch.allclose(seen[0], torch.full((8,), 0.9)) and torch.allclose(seen[0], seen[1])
