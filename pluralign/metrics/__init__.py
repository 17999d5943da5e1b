"""What a number is worth: scores, calibration, recovery, and intervals for all of them."""

from pluralign.metrics.calibration import (
    Reliability,
    VoteShares,
    calibration_error,
    reliability,
    vote_shares,
)
from pluralign.metrics.estimate import (
    Estimate,
    bootstrap,
    iqm,
    mean,
    paired,
    paired_bootstrap,
    worst_decile,
    worst_rater,
)
from pluralign.metrics.recovery import adjusted_rand, align, matched_accuracy, worth_correlation
from pluralign.metrics.scores import accuracy, brier, log_loss, macro, per_rater

__all__ = [
    "Estimate",
    "Reliability",
    "VoteShares",
    "accuracy",
    "adjusted_rand",
    "align",
    "bootstrap",
    "brier",
    "calibration_error",
    "iqm",
    "log_loss",
    "macro",
    "matched_accuracy",
    "mean",
    "paired",
    "paired_bootstrap",
    "per_rater",
    "reliability",
    "vote_shares",
    "worst_decile",
    "worst_rater",
    "worth_correlation",
]
