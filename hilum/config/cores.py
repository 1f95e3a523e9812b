"""How many processor cores this process may use."""

import os
from pathlib import Path
from typing import Final

# "200000 100000": so many microseconds in each period of so many (cgroup v2).
_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")


def usable_cores(quota: Path = _QUOTA) -> int:
    """Return the cores the scheduler grants, by affinity and by the quota of a container.

    Parameters
    ----------
    quota
        The file in which the kernel states the quota, if there is one.
    """
    cores = len(os.sched_getaffinity(0))
    try:
        share, period = quota.read_text().split()
        return max(1, min(cores, round(int(share) / int(period))))
    except (OSError, ValueError):  # no such file, or "max": no quota
        return cores
