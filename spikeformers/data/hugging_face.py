"""Image sets of the Hugging Face Hub by name, `hfds/owner/name`, through timm's reader of the `datasets` library."""

from pathlib import Path
from typing import Any

from PIL import Image
from torch.utils.data import Dataset

from .folders import open_rgb

PREFIX = "hfds/"
_SPLITS = {"train": ("train",), "val": ("validation", "val", "valid"), "test": ("test",)}


class HubImages(Dataset):
    """Images of one split; item i is (PIL image of mode RGB, label)."""

    def __init__(self, reader: Any):
        self.reader = reader
        self.targets: list[int] = list(reader.dataset[reader.label_key])

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        file, label = self.reader[index]
        with file:
            return open_rgb(file, f"number {index} of {self.reader.split}"), label


def read_hub(name: str, root: str | Path) -> tuple[dict[str, HubImages], tuple[str, ...]]:
    """The splits of `hfds/owner/name`, or `hfds/FOLDER` of files that `datasets` reads, kept under `root`; the classes.

    Raises ImportError without `datasets`, FileNotFoundError where the set or a split is missing.
    """
    try:
        from datasets import get_dataset_split_names
        from timm.data.readers.reader_hfds import ReaderHfds
    except ImportError as error:
        raise ImportError(f'{name} needs the library datasets: pip install "spikeformers[hfds]"') from error
    where = name.removeprefix(PREFIX)
    try:
        there = get_dataset_split_names(where)
        chosen = {ours: next((split for split in theirs if split in there), None) for ours, theirs in _SPLITS.items()}
        readers = {ours: ReaderHfds(where, str(root), split) for ours, split in chosen.items() if split}
    except (OSError, ValueError, KeyError, RuntimeError) as error:  # no network, no such set, no such columns
        reason = " ".join(str(error).split())
        raise FileNotFoundError(f"{name} cannot be read ({reason}): it needs columns 'image' and 'label'") from error
    if "train" not in readers or len(readers) == 1:
        raise FileNotFoundError(f"{name} has the splits {', '.join(there)}: it needs train, and validation or test")
    splits = {ours: HubImages(reader) for ours, reader in readers.items()}
    by_label = {label: word for word, label in readers["train"].class_to_idx.items()}
    classes = tuple(str(by_label.get(label, label)) for label in range(1 + max(splits["train"].targets)))
    return splits, classes
