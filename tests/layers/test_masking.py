"""Norms over visible places, and the order of tokens."""

import torch
from torch import nn

from spikeformers.layers.masking import InPlace, MaskedNorm, ReleasedOrder, Visible, enlarge

KEEP = torch.tensor([[[True, False], [False, True]], [[True, True], [False, False]]])  # B h w


def test_statistics_are_those_of_visible_places_and_the_rest_is_zero():
    visible = Visible()
    norm, x = MaskedNorm(3, visible), torch.randn(4, 3, 4, 4)  # T = 2
    with visible.only(KEEP):
        y = norm(x)
    keep = enlarge(KEEP, 2).repeat(2, 1, 1)
    seen = x.movedim(1, -1)[keep]
    torch.testing.assert_close(y.movedim(1, -1)[keep], nn.BatchNorm1d(3)(seen))
    assert y.movedim(1, -1)[~keep].count_nonzero() == 0
    torch.testing.assert_close(norm.running_mean, 0.1 * seen.mean(0))
    assert norm.num_batches_tracked == 1


def test_outside_a_block_it_is_batch_norm():
    visible = Visible()
    norm, x = MaskedNorm(3, visible), torch.randn(2, 3, 4, 4)
    with visible.only(KEEP):
        pass
    assert torch.equal(norm(x), nn.BatchNorm2d(3)(x))
    assert norm.state_dict().keys() == nn.BatchNorm2d(3).state_dict().keys()


def test_the_released_order_moves_tokens():
    tokens = torch.arange(8.0).view(1, 4, 2)
    restore = torch.tensor([[2, 0, 3, 1]])
    assert torch.equal(InPlace()(tokens, restore), tokens)
    assert torch.equal(ReleasedOrder()(tokens, restore), tokens[:, [2, 0, 3, 1]])
