"""The ways to be fair by the name that the command line and tables use; all of them answer with a lottery."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from pluralign.policies.fair import Fair
from pluralign.policies.learner import Learner, Progress
from pluralign.policies.lottery import Lottery
from pluralign.policies.maxmin import MaxMin
from pluralign.population.voices import Voices
from pluralign.rewards.welfare import CVaR, Mean, Nash
from pluralign.streams import Seed


@runtime_checkable
class Optimiser(Protocol):
    """Frozen settings of a way to serve many voices by one lottery."""

    def optimise(
        self, learner: Learner, voices: Voices, seed: Seed = 0, progress: Progress | None = None
    ) -> Lottery: ...


WELFARE: dict[str, Callable[[], Optimiser]] = {
    "mean": lambda: Fair(Mean()),
    "maxmin": MaxMin,
    "nash": lambda: Fair(Nash()),
    "cvar": lambda: Fair(CVaR()),
}


def optimiser(name: str) -> Optimiser:
    """The optimiser called `name`, with its default settings; all are on the relative scale.

    Raises:
        ValueError: there is none; the message lists those that exist.
    """
    if name not in WELFARE:
        raise ValueError(f"no welfare is called {name!r}; there are {', '.join(WELFARE)}.")
    return WELFARE[name]()
