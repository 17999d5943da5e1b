"""Rules by name, for saved models: plain JSON, wrappers nest."""

import dataclasses
from typing import Any

from pluralign.choice.davidson import Davidson
from pluralign.choice.equal_threshold import EqualThreshold
from pluralign.choice.lapse import Lapse
from pluralign.choice.left_bias import LeftBias
from pluralign.choice.luce import Luce
from pluralign.choice.mistake import Mistake
from pluralign.choice.ordinal import Ordinal
from pluralign.choice.protocol import ChoiceRule
from pluralign.choice.rao_kupper import RaoKupper
from pluralign.choice.skip import Skip
from pluralign.choice.thurstone import Thurstone

RULES: dict[str, type] = {
    rule.__name__: rule
    for rule in (
        Luce,
        Thurstone,
        Davidson,
        RaoKupper,
        Ordinal,
        Lapse,
        Mistake,
        EqualThreshold,
        LeftBias,
        Skip,
    )
}


def rule_to_json(rule: ChoiceRule) -> dict[str, Any]:
    """Name and settings, ready for `json.dumps`; a rule of your own must be in `RULES` to be read again."""
    name = type(rule).__name__
    if RULES.get(name) is not type(rule):
        raise ValueError(f"unknown rule {name}; add it to pluralign.choice.RULES, which has {sorted(RULES)}.")
    settings = {f.name: getattr(rule, f.name) for f in dataclasses.fields(rule)}  # type: ignore[arg-type]
    return {"name": name} | {k: rule_to_json(v) if k == "rule" else v for k, v in settings.items()}


def rule_from_json(saved: dict[str, Any]) -> ChoiceRule:
    """The rule that `rule_to_json` wrote.

    Raises:
        ValueError: the name or a setting is unknown.
    """
    settings = dict(saved)
    name = settings.pop("name", None)
    if name not in RULES:
        raise ValueError(f"unknown rule {name!r}; known are {sorted(RULES)}.")
    fields = [f.name for f in dataclasses.fields(RULES[name])]
    if extra := sorted(set(settings) - set(fields)):
        raise ValueError(f"{name} has no setting {extra[0]!r}; it has {fields}.")
    for key, value in settings.items():
        if key == "rule":
            settings[key] = rule_from_json(value)
        elif isinstance(value, list):  # JSON has no tuples
            settings[key] = tuple(value)
    rule: ChoiceRule = RULES[name](**settings)
    return rule
