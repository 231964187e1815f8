"""YAML that may be wrong, too deep or too large."""

from collections.abc import Iterable
from typing import Any

import yaml


def read_yaml(text: str, what: str) -> Any:
    """Parses YAML. Raises ValueError, in one line that begins with `what`, if it is not valid or too large."""
    try:
        value = yaml.safe_load(text)
    except RecursionError:
        raise ValueError(f"{what} has brackets nested too deeply: write it out") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # an impossible date is a ValueError
        raise ValueError(f"{what} is not valid YAML: {' '.join(str(error).split())}") from error
    level = [value]
    for _ in range(50):
        level = [inner for one in level if isinstance(one, dict | list) for inner in _inside(one)]
        if not level:
            return value
        if len(level) > 100_000:
            break
    raise ValueError(f"{what} contains itself by an anchor, or is too deep or too large: write it out")


def _inside(value: dict | list) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value
