"""Finite worlds as segments show them: which moves a state has, where they lead, and what a state is worth."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pluralign.data.options import Options, Segments
from pluralign.tabular.solving import optimal


@dataclass(frozen=True)
class Moves:
    """S states with A moves at most; a state without moves is an end, and is worth nothing.

    Attributes:
        transition: (S, A, S) chance to arrive; rows of real moves sum to one, or to less where the episode may end.
        factors: (S, A, F) what a move is expected to publish.
        real: (S, A) which moves exist.
        action: (S, A) the number that segments know a move by, -1 where it is known by where it leads.
    """

    transition: Float[Tensor, "S A S"]
    factors: Float[Tensor, "S A F"]
    real: Bool[Tensor, "S A"]
    action: Int[Tensor, "S A"]

    def __post_init__(self) -> None:
        total = self.transition.sum(-1)
        off = (self.real & ((total > 1 + 1e-6) | (self.transition < 0).any(-1))).nonzero()
        if len(off):
            s, a = off[0].tolist()
            raise ValueError(
                f"`transition` rows must be chances that sum to one at most; {len(off)} are not, first state {s}, "
                f"action {a}: {float(total[s, a])}."
            )
        if not bool(torch.isfinite(self.factors).all()):
            raise ValueError(
                "`factors` must be finite, some are not; look for a division by zero where they are made."
            )

    @staticmethod
    def of(transition: Float[Tensor, "S A S"], factors: Float[Tensor, "S A F"]) -> "Moves":
        """A known world; a move that leads nowhere ends the episode after its reward."""
        states, actions, _ = transition.shape
        number = torch.arange(actions).expand(states, -1).clone()
        real = torch.ones(states, actions, dtype=torch.bool)
        return Moves(transition.double(), factors.double(), real, number)

    @staticmethod
    def counted(options: Options) -> "Moves":
        """The moves that segments show, as often as they show them; a state that no segment leaves is an end.

        Where segments do not tell actions, a move is known by where it leads.

        Raises:
            ValueError: the options are no segments with numbered states and the state that was reached.
        """
        walk = Walks.of(options)
        states = 1 + int(max(walk.state.max(), walk.next.max()))
        there = walk.mask.reshape(-1)
        state, arrived = walk.state.reshape(-1)[there], walk.next.reshape(-1)[there]
        told = arrived if walk.action is None else walk.action.reshape(-1)[there]
        kinds, kind = torch.unique(torch.stack([state, told]), dim=1, return_inverse=True)  # sorted by state
        origin = kinds[0]
        count = torch.bincount(origin, minlength=states)
        place = torch.arange(len(origin)) - (count.cumsum(0) - count)[origin]
        times = torch.bincount(kind).double()
        rows = walk.factors.reshape(-1, walk.factors.shape[-1])[there].double()
        factors = torch.zeros(len(times), rows.shape[1], dtype=torch.float64).index_add_(0, kind, rows)
        lead = torch.zeros(len(times) * states, dtype=torch.float64)
        lead.index_add_(0, kind * states + arrived, torch.ones(len(kind), dtype=torch.float64))
        shape = (states, int(count.max()))
        real, number = torch.zeros(shape, dtype=torch.bool), torch.full(shape, -1)
        transition = torch.zeros(*shape, states, dtype=torch.float64)
        mean = torch.zeros(*shape, rows.shape[1], dtype=torch.float64)
        real[origin, place] = True
        transition[origin, place] = lead.reshape(-1, states) / times[:, None]
        mean[origin, place] = factors / times[:, None]
        if walk.action is not None:
            number[origin, place] = kinds[1]
        return Moves(transition, mean, real, number)

    def place(self, walk: "Walks") -> Int[Tensor, "N T"]:
        """Which of its state's moves every step was; 0 where there was no step.

        Raises:
            ValueError: a step is none of the moves of its state.
        """
        state = walk.state.clamp(max=len(self.real) - 1)
        if walk.action is None:
            surely, leads = self.transition.max(-1)
            certain = (leads[state] == walk.next[..., None]) & (surely[state] >= 1 - 1e-9) & self.real[state]
        else:
            certain = (self.action[state] == walk.action[..., None]) & self.real[state]
        lost = walk.mask & ((walk.state >= len(self.real)) | ~certain.any(-1))
        if bool(lost.any()):
            n, t = lost.nonzero()[0].tolist()
            raise ValueError(
                f"every step must be a move of its state; {int(lost.sum())} are not, first segment {n}, step {t}, from "
                f"state {int(walk.state[n, t])}; give actions, or the world that the segments come from."
            )
        return certain.int().argmax(-1)


@dataclass(frozen=True)
class Walks:
    """Segments through numbered states.

    Attributes:
        state, next: (N, T) before and after each step. mask: (N, T) which steps exist.
        action: (N, T) numbers, or None. factors: (N, T, F).
    """

    state: Int[Tensor, "N T"]
    next: Int[Tensor, "N T"]
    mask: Bool[Tensor, "N T"]
    action: Int[Tensor, "N T"] | None
    factors: Float[Tensor, "N T F"]

    @staticmethod
    def of(options: Options) -> "Walks":
        """Read the states of segments.

        Raises:
            ValueError: they are not there, or no whole numbers.
        """
        if not isinstance(options, Segments) or options.observation is None or options.reached is None:
            came = type(options).__name__ if not isinstance(options, Segments) else "segments without"
            raise ValueError(
                "values of states need Segments with `observation` (the number of each state) and `reached` (that of "
                f"the last one), got {came}; judge by partial return where states are not known."
            )
        seen = torch.cat([options.observation, options.reached[:, None]], 1).double()
        if seen.shape[-1] != 1 or bool(((seen < 0) | (seen != seen.round())).any()):
            raise ValueError(
                "states must be one whole number each, 0 or more, in `observation` (N, T, 1) and `reached` (N, 1), "
                f"got width {seen.shape[-1]} and values like {seen.flatten()[0].item():g}; number the states, or learn "
                "a policy without a reward where there are too many."
            )
        number = seen[..., 0].long()
        steps = number.shape[1] - 1
        mask = options.mask
        if mask is None:
            mask = torch.ones(len(number), steps, dtype=torch.bool)
        # After the last step that exists comes what was reached, wherever the padding begins.
        following = number[:, 1:].clone()
        last = mask.sum(1) - 1
        following[torch.arange(len(number)), last.clamp_min(0)] = number[:, -1]
        action = None
        if options.action is not None:
            if options.action.shape[-1] != 1 or bool((options.action != options.action.round()).any()):
                raise ValueError(
                    f"actions must be one whole number each in `action` (N, T, 1), got width {options.action.shape[-1]}; "
                    "number the actions, or leave them out where a move is known by where it leads."
                )
            action = options.action[..., 0].long()
        return Walks(number[:, :-1], following, mask, action, options.factors)


def optimal_values(
    moves: Moves, reward: Float[Tensor, "S A"], discount: float, softness: float = 0.0
) -> tuple[Float[Tensor, " S"], Float[Tensor, "S A"]]:
    """V(s) and Q(s, a) of the best policy, as `tabular.solving.optimal`; -inf for moves that are not real."""
    return optimal(moves.transition, reward, discount, softness, moves.real)


def successor_features(moves: Moves, weight: Float[Tensor, "K F"], discount: float) -> Float[Tensor, "L S F"]:
    """Discounted sums of factors ahead of every state under the best policies for K rewards; equal ones once."""
    found: list[Tensor] = []
    eye = torch.eye(len(moves.real), dtype=torch.float64)
    for w in weight.double():
        _, q = optimal_values(moves, moves.factors @ w, discount)
        chance = torch.nn.functional.one_hot(q.argmax(1), q.shape[1]).to(q) * moves.real
        step = torch.einsum("sa,saz->sz", chance, moves.transition)
        sums = torch.linalg.solve(eye - discount * step, torch.einsum("sa,saf->sf", chance, moves.factors))
        if not any(torch.allclose(sums, other, atol=1e-9) for other in found):
            found.append(sums)
    return torch.stack(found)


def best_of_policies(
    features: Float[Tensor, "L S F"], weight: Float[Tensor, " F"], softness: float = 1e-3
) -> Float[Tensor, " S"]:
    """A soft maximum over policies of their values, from below: generalised policy improvement, differentiable.

    Source: Barreto et al. (2017); softness .001 as in Knox et al., TMLR 2022.
    """
    value = features @ weight
    return (torch.softmax(value / softness, 0) * value).sum(0)
