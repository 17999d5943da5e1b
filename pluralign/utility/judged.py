"""What a person judges a segment by: the reward on the way, how well it ended, or what could have been had."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.data.comparisons import ABSENT, Comparisons
from pluralign.data.options import Items, Options
from pluralign.utility.ahead import Ahead
from pluralign.utility.moves import Moves, Walks, best_of_policies, optimal_values, successor_features

STATISTICS = ("reward", "end", "start", "advantage")
RULES = {
    "partial return": (1.0, 0.0, 0.0, 0.0),
    "expected return": (1.0, 1.0, 0.0, 0.0),
    "regret": (1.0, 1.0, -1.0, 0.0),
    "stochastic regret": (0.0, 0.0, 0.0, 1.0),
    "end value": (0.0, 1.0, 0.0, 0.0),
}


@dataclass(frozen=True)
class Judged:
    """u(segment) = c . (sum f^t r_t, f^T V(s_T), V(s_0), sum f^t A(s_t, a_t)), with V and A of the best policy for r.

    The reward r = w . factors is learned once for everybody, and V follows from it; each column of the basis (a camp)
    has its own c. So camps are ways to judge: partial return (1, 0, 0, 0), expected return (1, 1, 0, 0), regret
    (1, 1, -1, 0), stochastic regret (0, 0, 0, 1), end value (0, 1, 0, 0), or any mixture of reward, end and (negative)
    start where `rules` is empty. Regret counts luck where moves are chancy; stochastic regret does not. They are equal
    where moves are certain and `fade` equals `discount`.

    Attributes:
        rules: names of RULES, one for every column in turn; empty: three free coefficients for each column.
        moves: the world; None: the moves that the segments show, each state that they never leave being an end, or,
            where states are not one whole number each, values learned from the steps (`Ahead`).
        discount: of the values, per step, in [0, 1). fade: f, weight of step t to the person.
        softness: of the maximum in V, in utils; 0 is the maximum.
        policies: 0, or among how many random rewards' best policies V is sought, instead of the best of all.
        own: a reward for every column instead of one for all.
        ridge: 1 / variance of the normal prior of the reward's weights, on factors as long as their spread.

    Source: Knox et al., Models of human preference for learning reward functions, TMLR 2022; the three coefficients
    are those of their follow-up (2023, 2025).
    """

    rules: tuple[str, ...] = ()
    moves: Moves | Ahead | None = None
    discount: float = 0.99
    fade: float = 1.0
    softness: float = 0.0
    policies: int = 0
    own: bool = False
    ridge: float = 1.0

    def __post_init__(self) -> None:
        unknown = [name for name in self.rules if name not in RULES]
        if unknown:
            raise ValueError(f"`rules` must be of {', '.join(RULES)}, got {unknown[0]!r}.")
        if not 0 <= self.discount < 1:
            raise ValueError(f"`discount` must be in [0, 1), got {self.discount}; give 0.99, not a horizon.")
        if not 0 < self.fade <= 1:
            raise ValueError(f"`fade` must be in (0, 1], got {self.fade}; 1 counts every step alike.")

    def start(self, data: Comparisons, *, width: int | None, generator: torch.Generator) -> "JudgedWorth":
        """Look at the moves once; rewards start near "every step costs something".

        Raises:
            ValueError: the options are no segments through numbered states.
        """
        shown = data.options.take(torch.unique(data.slate[data.slate != ABSENT]))
        moves = seen_moves(shown, self.discount) if self.moves is None else self.moves
        width = 1 if width is None else width
        rows = shown.pool(shown.rows.double(), self.fade)
        spread = (rows - rows.mean(0)).square().mean(0).sqrt()
        scale = torch.where(spread > 1e-10, 1 / spread.clamp_min(1e-10), 0.0)
        count = width if self.own else 1
        noise = torch.randn(count, len(scale), generator=generator, dtype=torch.float64)
        # One unit of partial return, spread over what tells segments apart.
        reward = (0.3 * noise - 0.7) * scale / len(scale) ** 0.5
        if self.rules:
            sign = torch.zeros(width, 1, dtype=torch.float64)
        else:
            # Every third column begins near partial return, end value and regret.
            near = torch.tensor([[1.0, -2, -2], [-2, 1, -2], [0, 0, 0]], dtype=torch.float64)
            sign = near[torch.arange(width) % 3]
            sign = sign + 0.2 * torch.randn(width, 3, generator=generator, dtype=torch.float64)
        states = len(moves.real) if isinstance(moves, Moves) else 0
        around = torch.zeros(0, states, len(scale), dtype=torch.float64)
        if self.policies and isinstance(moves, Moves):
            some = torch.randn(self.policies, len(scale), generator=generator, dtype=torch.float64) * scale
            around = successor_features(moves, some, self.discount)
        return JudgedWorth(self, moves, reward, sign, scale, around)


@dataclass(frozen=True)
class JudgedWorth:
    """Statistics of segments under a reward, weighted for every column.

    Attributes:
        settings: how to judge. moves: the world.
        reward: (H, F) utils per unit of each factor, H = 1 or one for each of the G columns.
        judgement: (G, 1) logarithms of how strongly a rule is felt, or (G, 3) what softplus makes free
            coefficients of.
        scale: (F,) 1 / spread of the factors' sums. around: (L, S, F) successor features, or empty.
    """

    settings: Judged
    moves: Moves | Ahead
    reward: Float[Tensor, "H F"]
    judgement: Float[Tensor, "G J"]
    scale: Float[Tensor, " F"]
    around: Float[Tensor, "L S F"]

    @property
    def width(self) -> int:
        """G."""
        return len(self.judgement)

    @property
    def discount(self) -> float:
        return self.settings.fade

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """The reward's weights, in units of the factors' spread, and the judgements."""
        return self.reward / self.scale.clamp_min(1e-12), self.judgement

    def at(self, parameters: tuple[Tensor, ...]) -> "JudgedWorth":
        """The same with other parameters."""
        return dataclasses.replace(self, reward=parameters[0] * self.scale, judgement=parameters[1])

    def penalty(self) -> Tensor:
        """Minus the log prior of the parameters, in nats."""
        weight, judgement = self.parameters
        return self.settings.ridge * weight.square().sum() / 2 + 0.05 * judgement.square().sum()

    @property
    def coefficients(self) -> Float[Tensor, "G 4"]:
        """c of every column, by STATISTICS; their mean size is one, that of the reward is what answers say."""
        if self.settings.rules:
            names = self.settings.rules
            rule = torch.tensor([RULES[names[g % len(names)]] for g in range(self.width)]).double()
            return rule * (self.judgement - self.judgement.mean()).exp()
        # Nobody wants less reward or a worse end: without signs, a reward and its opposite could take turns.
        size = torch.nn.functional.softplus(2 * self.judgement)
        free = size / size.square().sum(1).mean().sqrt() * torch.tensor([1.0, 1.0, -1.0]).to(size)
        return torch.cat([free, torch.zeros_like(free[:, :1])], 1)

    @property
    def names(self) -> tuple[str, ...]:
        """The rule of every column; where coefficients are free, the rule they are most alike."""
        table = torch.tensor(list(RULES.values())).double()
        near = torch.nn.functional.cosine_similarity(self.coefficients[:, None], table[None], dim=-1)
        return tuple(list(RULES)[k] for k in near.argmax(1).tolist())

    def basis(self, options: Options) -> Float[Tensor, "N G"]:
        """Utils of every segment as each column judges it."""
        c = self.coefficients
        if self.settings.own:
            found = [
                statistics(options, self.moves, w, self.settings, self.around, needed=c[g : g + 1]) @ c[g]
                for g, w in enumerate(self.reward)
            ]
            return torch.stack(found, 1)
        return statistics(options, self.moves, self.reward[0], self.settings, self.around, needed=c) @ c.T

    def steps(self, rows: Float[Tensor, "*b F"]) -> Float[Tensor, "*b G"]:
        """The reward of single steps: what people want does not depend on how they look at a segment."""
        return (rows.double() @ self.reward.T).expand(*rows.shape[:-1], self.width)


def statistics(
    options: Options,
    moves: Moves | Ahead,
    reward: Float[Tensor, " F"],
    settings: Judged,
    around: Float[Tensor, "L S F"] | None = None,
    *,
    needed: Float[Tensor, "G 4"] | None = None,
) -> Float[Tensor, "N 4"]:
    """sum f^t r_t, f^T V(s_T), V(s_0) and sum f^t A(s_t, a_t) of segments, in utils; differentiable in the reward.

    Args:
        reward: w, with r = w . factors. settings: discounts and softness.
        around: successor features, to seek V among their policies.
        needed: coefficients; statistics that nobody counts stay zero where they would cost something.

    Raises:
        ValueError: states are not numbered, or a step is no move of its state.
    """
    total = options.pool(options.rows.double() @ reward[:, None], settings.fade)[:, 0]
    counted = torch.ones(4, dtype=torch.bool) if needed is None else (needed != 0).any(0)
    none = torch.zeros_like(total)
    if not bool(counted[1:].any()):
        return torch.stack([total, none, none, none], 1)
    if isinstance(moves, Ahead):
        if needed is not None and bool(counted[3]):
            raise ValueError(
                "stochastic regret needs numbered states, to tell a step from its luck; where states are numbers on a "
                "scale judge by 'regret'."
            )
        start, end = moves.ends(options, reward)
        steps = options.pool(torch.ones_like(options.rows[..., :1]), 1.0)[:, 0].double()
        return torch.stack([total, end * settings.fade**steps, start, none], 1)
    walk = Walks.of(options)
    paid = moves.factors @ reward
    if around is not None and len(around):
        value = best_of_policies(around, reward)
        q = paid + settings.discount * moves.transition @ value
    else:
        value, q = optimal_values(moves, paid, settings.discount, settings.softness)
    length = walk.mask.sum(1)
    if int(max(walk.state.max(), walk.next.max())) >= len(value):
        raise ValueError(
            f"states must be numbers below {len(value)}, those of the world; a segment has "
            f"{int(max(walk.state.max(), walk.next.max()))}: it comes from another world."
        )
    last = walk.next.gather(1, (length - 1).clamp_min(0)[:, None])[:, 0]
    end = value[torch.where(length > 0, last, walk.state[:, 0])] * settings.fade ** length.double()
    start = value[walk.state[:, 0]]
    if not bool(counted[3]):
        return torch.stack([total, end, start, none], 1)
    here = q[walk.state].gather(-1, moves.place(walk)[..., None])[..., 0]
    gap = torch.where(walk.mask, here - value[walk.state], 0.0)
    return torch.stack([total, end, start, options.pool(gap[..., None], settings.fade)[:, 0]], 1)


def seen_moves(options: Options, discount: float) -> Moves | Ahead:
    """What segments tell of their world: moves between states that are numbered, values of states that are measured."""
    seen = getattr(options, "observation", None)
    if seen is not None and (seen.shape[-1] != 1 or bool((seen != seen.round()).any())):
        return Ahead.of(options, discount)
    return Moves.counted(options)


def judged_items(
    options: Options, reward: Float[Tensor, " F"], settings: Judged, moves: Moves | Ahead | None = None
) -> Items:
    """Segments by their four statistics under a known reward: any population then learns how much each counts to whom."""
    found = statistics(
        options, seen_moves(options, settings.discount) if moves is None else moves, reward.double(), settings
    )
    return Items(found, getattr(options, "ids", None), STATISTICS)


def rule_table(belief: Any) -> dict[str, float]:
    """Share of the people who judge by each rule, from a belief over a `Judged` utility."""
    share = belief.draws.weight.mean(1)
    out: dict[str, float] = {}
    for name, part in zip(belief.worth.names, share.tolist(), strict=True):
        out[name] = out.get(name, 0.0) + part
    return out


def rule_confusion(belief: Any) -> tuple[tuple[str, ...], Float[Tensor, "G G"]]:
    """The rules of the camps, and where the answers place those who judge by each, as far as the answers tell.

    Returns:
        names; (G, G) rows sum to one: of those whose rule is the row's, the part that is taken to judge by the column's. It
        is made of the chances of each rater's camp, so it is right where these are calibrated; NaN where there is nobody.
    """
    chance = belief.draws.weight.double()
    return belief.worth.names, chance @ chance.T / chance.sum(1, keepdim=True)
