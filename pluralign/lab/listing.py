"""What there is to choose from, read from the registries: a new file in a folder shows up here by itself."""

import importlib.util
import inspect
from typing import Any

KINDS = ("populations", "recipes", "rules", "utilities", "raters", "people", "worlds", "welfare", "methods")


def listing(kind: str) -> list[tuple[str, str]]:
    """Names and their first sentences.

    Raises:
        ValueError: nothing of this kind can be listed.
    """
    if kind not in KINDS:
        raise ValueError(f"nothing called {kind!r} can be listed; there are {', '.join(KINDS)}.")
    return _FOUND[kind]()


def _populations() -> list[tuple[str, str]]:
    from pluralign.population.registry import MODELS

    return [(name, _first(model)) for name, model in MODELS.items()] + _recipes()


def _recipes() -> list[tuple[str, str]]:
    from pluralign.lab.naming import RECIPES, paper_of

    return [(name, f"{_first(made)} [{paper_of(made)}]") for name, made in RECIPES.items()]


def _rules() -> list[tuple[str, str]]:
    from pluralign.choice import RULES

    return [(name, _first(rule)) for name, rule in RULES.items()]


def _utilities() -> list[tuple[str, str]]:
    from pluralign.lab.fitting import UTILITIES

    return [(name, _first(utility)) for name, utility in UTILITIES.items()]


def _raters() -> list[tuple[str, str]]:
    """Presets, kinds for files, what changes in people, faults, teachers, designs."""
    from pluralign.elicitation import Active
    from pluralign.lab.settings import told
    from pluralign.raters import CURVED, PRESETS, TEACHERS, Contrast, Faults, OnPolicy, Uniform
    from pluralign.raters.config import CHANGES, KINDS

    faults = told(Faults.__doc__ or "")
    return [
        *(PRESETS | CURVED).items(),
        *((f"kind {name}", _first(kind)) for name, kind in KINDS.items()),
        *((f"change {name}", _first(change)) for name, change in CHANGES.items()),
        *((f"fault {name}", about) for name, about in faults.items()),
        *((f"teacher {name}", str(faults)) for name, faults in TEACHERS.items()),
        *((f"questions {kind.__name__}", _first(kind)) for kind in (Uniform, Contrast, OnPolicy, Active)),
    ]


def _worlds() -> list[tuple[str, str]]:
    if importlib.util.find_spec("pluralign_envs") is None:
        raise ValueError("no worlds are installed; install pluralign with the extra `control`.")
    try:
        from pluralign_envs.catalogue import WORLDS
    except ImportError as problem:
        raise ValueError(f"worlds need more packages ({problem}); install the extra `control`.") from None
    from pluralign.lab.beds import BEDS

    short = {here.world: name for name, here in BEDS.items()}
    factors = lambda world: ", ".join(f"{f.name} ({f.unit})" for f in world.factors)
    return [
        (f"{short[name]:<11} {name}", f"{world.summary} Factors: {factors(world)}.")
        for name, world in WORLDS.items()
    ]


def _welfare() -> list[tuple[str, str]]:
    from pluralign.policies.fair import Fair
    from pluralign.policies.registry import WELFARE
    from pluralign.rewards.welfare import EachOnce

    def about(made: Any) -> str:
        if not isinstance(made, Fair):
            return _first(made)
        if isinstance(made.welfare, EachOnce):
            return "Every voice once: " + _first(made.welfare.welfare)
        return _first(made.welfare)

    return [(name, about(make())) for name, make in WELFARE.items()]


def _methods() -> list[tuple[str, str]]:
    from pluralign.lab.optimise import OFFLINE
    from pluralign.policies.direct import TRAINERS

    online = [
        ("grpo", "texts: by rewards of a model's own answers"),
        ("best-of-n", "texts: the best of n answers"),
    ]
    return [*TRAINERS.items(), *((name, _first(kind)) for name, kind in OFFLINE.items()), *online]


def _first(kind: Any) -> str:
    """The first paragraph of a docstring, on one line."""
    kind = kind if isinstance(kind, type) or inspect.isfunction(kind) else type(kind)
    return " ".join((kind.__doc__ or "").strip().split("\n\n")[0].split())


_FOUND = {
    "populations": _populations,
    "recipes": _recipes,
    "rules": _rules,
    "utilities": _utilities,
    "raters": _raters,
    "people": _raters,
    "worlds": _worlds,
    "welfare": _welfare,
    "methods": _methods,
}
