"""Voices: reward functions out of a belief; scales, welfare, and the Gymnasium wrappers that pay them."""

from typing import TYPE_CHECKING, Any

from pluralign.population.voices import Voices
from pluralign.rewards.joined import joined
from pluralign.rewards.tastes import draw_tastes, known_voices, per_step_min
from pluralign.rewards.transforms import Gauge, Scale, log_sigmoid_centred, relative_gain, unit_spread
from pluralign.rewards.welfare import (
    AlphaFair,
    CVaR,
    EachOnce,
    Gini,
    LogSigmoid,
    Mean,
    Nash,
    SoftMin,
    Welfare,
    WorstOff,
)

if TYPE_CHECKING:
    from pluralign.rewards.wrapper import PersonalWrapper, RewardWrapper, VectorRewardWrapper

__all__ = [
    "AlphaFair",
    "CVaR",
    "EachOnce",
    "Gauge",
    "Gini",
    "LogSigmoid",
    "Mean",
    "Nash",
    "PersonalWrapper",
    "RewardWrapper",
    "Scale",
    "SoftMin",
    "VectorRewardWrapper",
    "Voices",
    "Welfare",
    "WorstOff",
    "draw_tastes",
    "joined",
    "known_voices",
    "log_sigmoid_centred",
    "per_step_min",
    "relative_gain",
    "unit_spread",
]


def __getattr__(name: str) -> Any:
    # Subclasses of gymnasium.Wrapper: gymnasium is an extra and is imported by those who use them.
    if name in ("PersonalWrapper", "RewardWrapper", "VectorRewardWrapper"):
        from pluralign.rewards import wrapper

        return getattr(wrapper, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}.")
