"""What the command line can fit by name: every registered population, and every published recipe."""

import dataclasses
import difflib
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

from pluralign import recipes
from pluralign.population import registry
from pluralign.population.covariates import WithCovariates

RECIPES: dict[str, Callable[..., Any]] = {
    name: made
    for name, made in inspect.getmembers(recipes, inspect.isfunction)
    if made.__module__ == recipes.__name__ and not name.startswith("_")
}


def model_named(name: str, settings: Mapping[str, Any] | None = None) -> Any:
    """The settings of a population or a recipe, with some of them replaced.

    Raises:
        ValueError: nothing has this name, or it has no such setting.
    """
    name = official(name)
    base = registry.MODELS[name]() if name in registry.MODELS else RECIPES[name]()
    chosen = dict(settings or {})
    if not chosen:
        return base
    fields = [field.name for field in dataclasses.fields(base)]
    for word in chosen:
        if word not in fields:
            raise ValueError(f"{name} has no setting {word!r}; there are {', '.join(fields)}.")
    return dataclasses.replace(base, **chosen)


ALIKE = ("pooled", "per_rater")  # one taste for all, and tastes that share nothing: no covariates either
COVARIATES = "covariates"  # one taste for all raters of the same covariates


def member_named(name: str, covariates: bool = False) -> Any:
    """A member of a leaderboard: the population or recipe of this name, told the covariates of raters where there are any."""
    if name == COVARIATES:
        return WithCovariates(model_named("pooled"))
    model = model_named(name)
    return WithCovariates(model) if covariates and name not in ALIKE else model


def official(name: str) -> str:
    """The name as it is registered.

    Raises:
        ValueError: there is none; the message lists those that exist and says which is nearest.
    """
    found = name.lower().replace("-", "_")
    if found in registry.MODELS or found in RECIPES:
        return found
    known = [*registry.MODELS, *RECIPES]
    near = difflib.get_close_matches(found, known, n=3, cutoff=0.5)
    hint = f"; the nearest: {', '.join(near)}" if near else ""
    raise ValueError(
        f"no population is called {name!r}; there are {', '.join(registry.MODELS)}, and the recipes "
        f"{', '.join(RECIPES)}{hint}."
    )


def paper_of(recipe: Callable[..., Any]) -> str:
    """The paper that a recipe's docstring names."""
    source = " ".join((inspect.getdoc(recipe) or "").partition("Source:")[2].split("\n\n")[0].split())
    return re.split(r"(?<=\d)\.(?:\s|$)", source)[0]
