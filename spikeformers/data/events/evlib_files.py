"""AEDAT 4, Prophesee's `.raw` and HDF5, read by evlib: `pip install "spikeformers[events]"`."""

from pathlib import Path

import numpy as np

from .recording import Events


def read(path: Path) -> Events:
    """The events of a file. Raises ImportError, with the remedy, where evlib is missing, and what evlib raises."""
    try:
        import evlib
    except ImportError as error:
        raise ImportError(f'{path} needs evlib to be read: pip install "spikeformers[events]"') from error
    columns = evlib.load_events(str(path)).collect()
    t, x, y = (columns[name].to_physical().to_numpy().astype(np.int64) for name in "txy")
    return Events(t, x, y, (columns["polarity"].to_numpy() > 0).astype(np.int64))
