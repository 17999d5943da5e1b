"""Everything that learns a policy from answers without a reward, by name."""

from typing import Any

from pluralign.policies.direct.direct import Direct
from pluralign.policies.direct.hindsight import Hindsight
from pluralign.policies.direct.implied import Implied
from pluralign.policies.direct.methods import METHODS

Trainer = Direct | Implied | Hindsight
OTHERS: dict[str, type[Implied] | type[Hindsight]] = {"ipl": Implied, "oppo": Hindsight}

TRAINERS: dict[str, str] = {
    **{
        name: f"Without a reward{', against a reference' if method.reference else ''}: {method.about}."
        for name, method in METHODS.items()
    },
    "ipl": "Without a reward: a critic whose implied reward explains the answers.",
    "oppo": "Without a reward: imitation told how a segment looks in hindsight, then told what is best.",
}


def trainer(name: str, **settings: Any) -> Trainer:
    """The method called `name` with these settings.

    Raises:
        ValueError: there is none.
    """
    if name not in TRAINERS:
        raise ValueError(f"`method` must be one of {', '.join(TRAINERS)}, got {name!r}.")
    return OTHERS[name](**settings) if name in OTHERS else Direct(name, **settings)
