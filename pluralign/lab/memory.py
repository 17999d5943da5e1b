"""How much memory a piece of work took at its peak, where the system tells."""

import contextlib
import resource
import sys
from pathlib import Path

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Peak:
    """Peak memory since this was made: `Peak().mebibytes()`, of which the start is taken off."""

    def __init__(self) -> None:
        with contextlib.suppress(OSError):
            _RESET.write_text("5")  # Linux: forget the highest mark
        self._start = _field("VmRSS")

    def mebibytes(self) -> float:
        """MiB above the start; without Linux' counters a lower bound, the growth of the process's highest mark."""
        high = _field("VmHWM")
        if high is None or self._start is None:
            used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            return used / (2**20 if sys.platform == "darwin" else 2**10)
        return max(0.0, high - self._start)


def _field(name: str) -> float | None:
    try:
        for line in _STATUS.read_text().splitlines():
            if line.startswith(name + ":"):
                return float(line.split()[1]) / 1024
    except OSError:
        pass
    return None
