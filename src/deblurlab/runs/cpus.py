"""Number of CPUs."""

import os


def available_cpus() -> int:
    """Return the number of CPUs that this process may use, at least 1.

    On Linux the CPU affinity counts, which batch systems and containers set.
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
