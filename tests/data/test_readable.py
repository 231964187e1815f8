"""Items that cannot be read, and shares of a set."""

import pytest
from torch.utils.data import DataLoader, Dataset

from spikeformers.data.eval_shards import NOT_COUNTED, Share
from spikeformers.data.readable import Readable


class Broken(Dataset):
    def __init__(self, *broken, size=8):
        self.broken, self.size = broken, size

    def __len__(self):
        return self.size

    def __getitem__(self, i):
        if i in self.broken:
            raise ValueError(f"{i}.png cannot be read as an image; replace it")
        return i * 10, i % 3


def test_the_next_stands_in_is_said_once_and_counted(caplog):
    items = Readable(Broken(2, 3, 7))
    assert [items[i] for i in (1, 2, 3, 7, 2)] == [(10, 1), (40, 1), (40, 1), (0, 0), (40, 1)]
    assert items.broken == 3
    said = [(1, "2.png"), (2, "3.png"), (3, "7.png")]
    assert caplog.messages == [f"skipped, number {n} of 8: {file} cannot be read as an image" for n, file in said]


def test_in_evaluation_it_has_no_label():
    items = Readable(Broken(2), counted=False)
    assert [items[i][1] for i in range(8)] == [0, 1, NOT_COUNTED, 0, 1, 2, 0, 1]


def test_loading_processes_share_the_count():
    items = Readable(Broken(1, 6))
    list(DataLoader(items, 2, num_workers=2))
    assert items.broken == 2


def test_a_set_that_cannot_be_read_at_all_is_an_error():
    with pytest.raises(ValueError, match=r"3\.png cannot be read"):
        Readable(Broken(*range(8)))[3]


@pytest.mark.parametrize(("size", "of"), [(8, 3), (8, 2), (2, 3), (7, 1)])
def test_shares_hold_every_item_once_and_are_as_long(size, of):
    shares = [Share(Broken(size=size), first, of) for first in range(of)]
    assert len({len(share) for share in shares}) == 1
    items = [share[i] for share in shares for i in range(len(share))]
    assert sorted(item for item, label in items if label != NOT_COUNTED) == [10 * i for i in range(size)]
    assert sum(label == NOT_COUNTED for _, label in items) < of
