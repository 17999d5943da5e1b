"""From worths to an answer: one rule per file."""

from pluralign.choice.davidson import Davidson
from pluralign.choice.equal_threshold import EqualThreshold
from pluralign.choice.lapse import Lapse
from pluralign.choice.left_bias import LeftBias
from pluralign.choice.luce import Luce
from pluralign.choice.mistake import Mistake
from pluralign.choice.ordinal import Ordinal
from pluralign.choice.protocol import ChoiceRule, OutcomeRule
from pluralign.choice.rao_kupper import RaoKupper
from pluralign.choice.registry import RULES, rule_from_json, rule_to_json
from pluralign.choice.skip import Skip
from pluralign.choice.thurstone import Thurstone

__all__ = [
    "RULES",
    "ChoiceRule",
    "Davidson",
    "EqualThreshold",
    "Lapse",
    "LeftBias",
    "Luce",
    "Mistake",
    "Ordinal",
    "OutcomeRule",
    "RaoKupper",
    "Skip",
    "Thurstone",
    "rule_from_json",
    "rule_to_json",
]
