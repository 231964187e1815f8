"""Layers of maps at every step."""

import torch

from spikeformers.layers.conv import PooledConvNorm
from spikeformers.layers.time import at_each_step


def test_an_image_at_all_steps_is_computed_once():
    seen = []

    def layer(maps):
        seen.append(len(maps))
        return torch.nn.functional.max_pool2d(maps, 2)

    image = torch.randn(2, 3, 4, 6)
    once, always = (
        at_each_step(layer, image.expand(5, -1, -1, -1, -1)),
        at_each_step(layer, image.repeat(5, 1, 1, 1, 1)),
    )
    assert torch.equal(once, always)
    assert once.shape == (5, 2, 3, 2, 3)
    assert seen == [2, 10]


def test_a_pooled_image_has_the_gradients_of_all_steps():
    """The pool sees one step; what its weights learn is the sum over steps."""
    image, weight = torch.randn(2, 3, 8, 8, dtype=torch.float64), torch.randn(4, 2, 5, 4, 4, dtype=torch.float64)
    part = PooledConvNorm(3, 5, 3, 2).double()
    gradients = []
    for x in (image.expand(4, *image.shape), image.repeat(4, 1, 1, 1, 1)):
        part.zero_grad()
        (part(x) * weight).sum().backward()
        gradients.append([parameter.grad.clone() for parameter in part.parameters()])
    for one, all_steps in zip(*gradients, strict=True):
        torch.testing.assert_close(one, all_steps)
