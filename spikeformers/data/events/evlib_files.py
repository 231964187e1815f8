"""AEDAT 4 and Prophesee's `.raw`, read with evlib: `pip install "spikeformers[events]"`."""

from pathlib import Path

import numpy as np

from .columns import Columns
from .headers import sensor_in


def read(path: Path) -> Columns:
    """The events of a file. Raises ImportError, naming what to install, if evlib is missing, and what evlib raises."""
    try:
        import evlib
    except ImportError as error:
        raise ImportError(f'reading {path} needs evlib: pip install "spikeformers[events]"') from error
    columns = evlib.load_events(str(path), sort=False).collect()
    t, x, y = (columns[name].to_physical().to_numpy().astype(np.int64) for name in "txy")
    with path.open("rb") as file:
        return Columns(t, x, y, columns["polarity"].to_numpy(), sensor_in(file.read(1 << 16)))
