"""How far a run is, on stderr, where somebody is looking."""

import sys
from typing import Any

from tqdm import tqdm


class Bar:
    """Progress on stderr: stages done, and steps within the present one where it can tell."""

    def __init__(self, total: int) -> None:
        quiet = not sys.stderr.isatty()
        self._stages = tqdm(total=total, unit="stage", disable=quiet, dynamic_ncols=True, file=sys.stderr)
        self._plain = quiet

    def stage(self, words: str, work: Any) -> Any:
        """Do a stage under its name."""
        self._stages.set_description(words)
        self._steps = 0
        result = work()
        self._stages.update(1)
        return result

    def tell(self, steps: int) -> None:
        """So many simulator steps more."""
        self._steps += steps
        self._stages.set_postfix_str(f"{self._steps / 1000:.0f}k steps", refresh=self._steps % 65536 < steps)

    def close(self) -> None:
        self._stages.close()
