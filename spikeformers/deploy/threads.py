"""How many threads inference takes."""

import os


def free_threads() -> int:
    """How many cores nobody uses, at least one: more threads than those slow each other down."""
    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    busy = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return max(1, round(mine - busy))
