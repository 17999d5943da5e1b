"""Simulated people: a taste each, a common rule of choice, and their own faults."""

import dataclasses
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pluralign.choice import Luce, OutcomeRule
from pluralign.choice.equal_threshold import tied
from pluralign.choice.lapse import log_guess
from pluralign.choice.outcomes import answers, expected_share, mixed
from pluralign.choice.skip import log_answered
from pluralign.data.comparisons import ABSENT, Comparisons
from pluralign.data.options import Options, Segments
from pluralign.raters.factors import Basis, fading
from pluralign.raters.numbers import uniform
from pluralign.raters.timing import decision, mean_decision
from pluralign.streams import Seed, Streams

# What each person may have of their own, besides taste, camp and stream, and between which limits.
FAULTS: dict[str, tuple[float, float]] = {
    "rationality": (0, torch.inf),
    "bias": (-torch.inf, torch.inf),
    "lapse": (0, 1),
    "mistake": (0, 1),
    "equal": (0, torch.inf),
    "discount": (0, 1),
    "skip": (-torch.inf, torch.inf),
    "pace": (0, torch.inf),
    "reaction": (0, torch.inf),
}
CERTAIN = 1e6  # utils by which the best option leads for somebody who never errs; finite, so no rule meets inf - inf
AT_ONCE = 4_000_000  # numbers gathered per piece, 32 MB


@dataclass(frozen=True)
class SimulatedRaters:
    """R people; rater r values an option at taste[r] . basis(option) utils and answers by `rule`.

    The steps of an answer: worths, faded by `discount`; times `rationality`; `bias` for the first place; `rule`; with
    chance `lapse` a guess instead; with chance `mistake` turned round; and equal whatever the rest says, where the
    unfaded worths are nearer than `equal`. Before all that a question is skipped where no unfaded worth exceeds
    `skip`, or by a rule that skips. This is the order of the teachers of B-Pref. Up to one half, mistakes at rate e
    cannot be told from lapses at rate 2 e.

    Attributes:
        worth: describes each option by Z numbers.
        taste: (R, Z), utils per unit of the basis.
        rule: how worths become an answer.
        group: (R,) the camp of each rater, where there are camps; for judging a fit, never seen by one.
        rationality: (R,) factor on the worths, 0 or more; infinite for people who never err.
        bias: (R,) utils, after `rationality`, by which the first place is preferred.
        lapse: (R,) chance of a guess among what is shown.
        mistake: (R,) chance that the answer to a pair is turned round; 1 for people who say the opposite.
        equal: (R,) utils; pairs nearer than this are called equal.
        discount: (R,) per step: the last step of a segment counts 1, older ones fade. It takes the place of
            the discount of `worth`.
        skip: (R,) utils; questions whose options are all worth at most this are left out.
        pace: (R,) seconds that a toss-up takes on average to decide; fills `response_time` by drift-diffusion.
        reaction: (R,) seconds that go by besides.
        stream: (R,) which random stream is whose; a number that stays with the person.

    Source: Lee et al., B-Pref, NeurIPS 2021, for the faults; see `pluralign.raters.timing` for the seconds.
    """

    worth: Basis
    taste: Float[Tensor, "R Z"]
    rule: OutcomeRule = field(default_factory=Luce)
    group: Int[Tensor, " R"] | None = None
    rationality: Float[Tensor, " R"] | None = None
    bias: Float[Tensor, " R"] | None = None
    lapse: Float[Tensor, " R"] | None = None
    mistake: Float[Tensor, " R"] | None = None
    equal: Float[Tensor, " R"] | None = None
    discount: Float[Tensor, " R"] | None = None
    skip: Float[Tensor, " R"] | None = None
    pace: Float[Tensor, " R"] | None = None
    reaction: Float[Tensor, " R"] | None = None
    stream: Int[Tensor, " R"] | None = None

    def __post_init__(self) -> None:
        if self.stream is None:
            object.__setattr__(self, "stream", torch.arange(len(self.taste)))
        for name in ("group", "stream", *FAULTS):
            value = getattr(self, name)
            if value is not None and value.shape != self.taste.shape[:1]:
                raise ValueError(f"`{name}` must have one number for each of the {len(self)} raters.")
        for name, (low, high) in FAULTS.items():
            value = getattr(self, name)
            if value is not None and not bool(((value >= low) & (value <= high)).all()):
                rater = int((~((value >= low) & (value <= high))).nonzero()[0, 0])
                raise ValueError(
                    f"`{name}` must lie in [{low}, {high}], got {float(value[rater])} for rater {rater}."
                )
        if not bool(torch.isfinite(self.taste).all()):
            raise ValueError("`taste` must be finite numbers of utils; infinite certainty is `rationality`.")
        if len(torch.unique(self.stream)) != len(self):
            raise ValueError("`stream` must be different for each rater, or two people answer as one.")

    def __len__(self) -> int:
        return len(self.taste)

    def take(self, index: Int[Tensor, " n"]) -> "SimulatedRaters":
        """The raters at `index`, who answer as they did among the others."""
        names = ("taste", "group", "stream", *FAULTS)
        kept = {n: value[index] for n in names if (value := getattr(self, n)) is not None}
        return dataclasses.replace(self, **kept)

    def utility(self, options: Options) -> Float[Tensor, "R N"]:
        """(R, N) what each option is worth to each rater, in utils, before any fault."""
        return self.taste.double() @ self._basis(options).T

    def share(
        self, options: Options, slate: Int[Tensor, "M K"], rater: Int[Tensor, " M"]
    ) -> Float[Tensor, "M K"]:
        """(M, K) the true expected share per place, faults included: the best any model can predict."""
        return expected_share(self.log_outcomes(options, slate, rater), slate.shape[1])

    def answer(
        self,
        options: Options,
        slate: Int[Tensor, "M K"],
        rater: Int[Tensor, " M"],
        seed: Seed,
        *,
        asked: Int[Tensor, " R"] | None = None,
    ) -> Comparisons:
        """Ask rater `rater[m]` about the options `slate[m]`.

        Every rater has a random stream of their own: the answer to a rater's n-th question depends on seed,
        rater and n, not on who else is asked. An int gives equal answers each time; a generator moves on.

        Args:
            options: the store.
            slate: (M, K) indices, -1 where a shorter slate has no option.
            rater: (M,) in 0..R-1.
            seed: of the stream "answers".
            asked: (R,) questions that each rater was asked before with this seed; a study in batches then
                equals the study in one go.

        Returns:
            one row per question, in order; none for those that were skipped.
        """
        number = count_up(rater, len(self))
        if asked is not None:
            number = number + asked[rater]
        label, given, seconds = self.told(options, slate, rater, number, Streams.of(seed))
        assert self.stream is not None
        ids = tuple(str(s) for s in self.stream.tolist())
        data = Comparisons(options, slate, rater, label, response_time=seconds, rater_ids=ids)
        return data if bool(given.all()) else data.take(given)

    def told(
        self,
        options: Options,
        slate: Int[Tensor, "M K"],
        rater: Int[Tensor, " M"],
        number: Int[Tensor, " M"],
        streams: Streams,
    ) -> tuple[Float[Tensor, "M K"], Bool[Tensor, " M"], Float[Tensor, " M"] | None]:
        """Labels, whether there is an answer at all, and seconds where known; `number` counts a rater's questions."""
        assert self.stream is not None
        who = self.stream[rater]
        chance = self.log_outcomes(options, slate, rater).exp()
        draw = uniform(streams.number("answers"), who, number)
        reach = chance.cumsum(1)
        outcome = (draw[:, None] > reach[:, :-1] / reach[:, -1:]).sum(1)
        label = answers(slate.shape[1], chance.shape[1])[outcome].float()
        answered, seconds = self.answered(options, slate, rater), None
        given = uniform(streams.number("skips"), who, number) < answered
        if self.pace is not None:
            level = uniform(streams.number("seconds"), who, number)
            time = decision(self._difference(options, slate, rater), level)
            seconds = time * self.pace.double()[rater]
            if self.reaction is not None:
                seconds = seconds + self.reaction.double()[rater]
            seconds = seconds.float()
        return label, given, seconds

    def seconds(
        self, options: Options, slate: Int[Tensor, "M K"], rater: Int[Tensor, " M"]
    ) -> Float[Tensor, " M"]:
        """(M,) mean response time.

        Raises:
            ValueError: these people have no `pace`, or slates are no pairs.
        """
        if self.pace is None:
            raise ValueError("these people take no time; give them a `pace` in seconds.")
        mean = mean_decision(self._difference(options, slate, rater)) * self.pace.double()[rater]
        return mean if self.reaction is None else mean + self.reaction.double()[rater]

    def answered(
        self, options: Options, slate: Int[Tensor, "M K"], rater: Int[Tensor, " M"]
    ) -> Float[Tensor, " M"]:
        """(M,) the chance that a question is answered at all; 1 for people who skip none."""
        if self.skip is None and not hasattr(self.rule, "rule"):  # no wrapper, so no Skip
            return torch.ones(len(slate), dtype=torch.float64)
        plain = self._plain(options, slate, rater)
        chance = log_answered(self.rule, plain).exp()
        if self.skip is not None:
            chance = chance * (plain.amax(1) > self.skip.double()[rater])
        return chance

    def log_outcomes(
        self, options: Options, slate: Int[Tensor, "M K"], rater: Int[Tensor, " M"]
    ) -> Float[Tensor, "M O"]:
        """Log-probability of every answer that `rule` allows (and of a tie, where people have `equal`)."""
        if len(rater) and not 0 <= int(rater.min()) <= int(rater.max()) < len(self):
            raise ValueError(f"`rater` must be in 0..{len(self) - 1}, got {int(rater.max())}.")
        if slate.numel() and not ABSENT <= int(slate.min()) <= int(slate.max()) < len(options):
            raise ValueError(f"`slate` must point into the {len(options)} options, got {int(slate.max())}.")
        plain = (
            self._plain(options, slate, rater) if self.discount is None or self.equal is not None else None
        )
        felt = plain if self.discount is None else self._faded(options, slate, rater)
        assert felt is not None
        log_chance = self.rule.log_outcomes(self._scaled(felt, rater))
        if self.lapse is not None:
            guess = log_guess(felt, log_chance.shape[1])
            log_chance = mixed(log_chance, guess, self.lapse.double()[rater, None])
        if self.mistake is not None:
            if slate.shape[1] != 2:
                raise ValueError(f"`mistake` is about pairs, got slates of {slate.shape[1]}; give a `lapse`.")
            log_chance = mixed(log_chance, log_chance.flip(1), self.mistake.double()[rater, None])
        if self.equal is not None:
            if slate.shape[1] != 2:
                raise ValueError(f"`equal` is about pairs, got slates of {slate.shape[1]}; leave it out.")
            assert plain is not None
            log_chance = tied(log_chance, (plain[:, 0] - plain[:, 1]).abs() < self.equal.double()[rater])
        return log_chance

    def _basis(self, options: Options) -> Tensor:
        basis = self.worth.basis(options).double()
        if basis.shape[1] != self.taste.shape[1]:
            raise ValueError(
                f"a taste has {self.taste.shape[1]} numbers and the options {basis.shape[1]}; "
                "draw people for these factors."
            )
        return basis

    def _plain(self, options: Options, slate: Tensor, rater: Tensor) -> Tensor:
        basis, taste = self._basis(options), self.taste.double()
        size = max(1, AT_ONCE // (slate.shape[1] * basis.shape[1] + 1))
        pieces = [
            (basis[s] * taste[r, None]).sum(-1)
            for s, r in zip(slate.split(size), rater.split(size), strict=True)
        ]
        return torch.cat(pieces).masked_fill(slate == ABSENT, -torch.inf)

    def _faded(self, options: Options, slate: Tensor, rater: Tensor) -> Tensor:
        assert self.discount is not None
        steps = getattr(self.worth, "steps", None)
        if not isinstance(options, Segments) or steps is None:
            raise ValueError("`discount` is about steps: it needs Segments, and a worth that has `steps`.")
        rows, taste, discount = steps(options.rows).double(), self.taste.double(), self.discount.double()
        size = max(1, AT_ONCE // (slate.shape[1] * rows[0].numel() + 1))
        pieces = []
        for s, r in zip(slate.split(size), rater.split(size), strict=True):
            reward = torch.einsum("mktz,mz->mkt", rows[s], taste[r])
            pieces.append((fading(options, discount[r], s) * reward).sum(-1))
        return torch.cat(pieces).masked_fill(slate == ABSENT, -torch.inf)

    def _scaled(self, utility: Tensor, rater: Tensor) -> Tensor:
        if self.rationality is None:
            return self._leaning(utility, rater)
        factor = self.rationality.double()[rater, None]
        shown = ~torch.isneginf(utility)
        # Best ones share the choice; nothing is multiplied by infinity.
        lead = torch.where(utility == utility.amax(1, keepdim=True), 0.0, -CERTAIN)
        sure = torch.isinf(factor)
        scaled = torch.where(sure, lead, utility.masked_fill(~shown, 0.0) * factor.masked_fill(sure, 0.0))
        return self._leaning(scaled.masked_fill(~shown, -torch.inf), rater)

    def _leaning(self, utility: Tensor, rater: Tensor) -> Tensor:
        if self.bias is None:
            return utility
        first = utility[:, :1] + self.bias.double()[rater, None]
        return torch.cat([first, utility[:, 1:]], 1)

    def _difference(self, options: Options, slate: Tensor, rater: Tensor) -> Tensor:
        if slate.shape[1] != 2:
            raise ValueError(f"`pace` is about pairs, got slates of {slate.shape[1]}; leave it out.")
        plain = self._plain if self.discount is None else self._faded
        felt = self._scaled(plain(options, slate, rater), rater)
        return felt[:, 0] - felt[:, 1]


def count_up(rater: Tensor, raters: int) -> Tensor:
    """(M,) how many earlier answers of the list are by the same rater."""
    order = rater.argsort(stable=True)
    count = torch.bincount(rater, minlength=raters)
    start = count.cumsum(0) - count
    number = torch.empty_like(order)
    number[order] = torch.arange(len(rater)) - start[rater[order]]
    return number
