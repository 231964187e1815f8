"""Names the step of a transform that fails."""

from collections.abc import Callable
from typing import Any

from spikeformers.memory import is_shortage


class _FailedError(ValueError):
    """The message already names what failed."""


def named(step: Callable[[Any], Any], name: str, image: Any) -> Any:
    """`step(image)`. Raises ValueError with `name` if it fails, except for lack of memory."""
    try:
        return step(image)
    except _FailedError:
        raise
    except Exception as error:
        if is_shortage(error):  # which is no fault of the image
            raise
        raise _FailedError(f"{name} failed: {' '.join(str(error).split())}") from error
