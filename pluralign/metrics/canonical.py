"""Canonical rewards: what is left of a reward when all that cannot matter is taken away. Exact, on finite worlds.

Two changes of a reward leave the order of all policies as it is: shaping, R + discount * phi(s') - phi(s), and redistribution
over next states, any change whose mean over s' ~ T(. | s, a) is zero. All functions here take rewards (*b, S, A, S) and
are linear in them.

Source: Skalse et al., STARC, ICLR 2024; EPIC of Gleave et al., ICLR 2021; DARD of Wulfe et al., ICLR 2022; SRRD of
Nyanhongo et al., TMLR 2025. The minimal ones in closed form are ours.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.tabular.solving import expected, uniform

Rewards = Float[Tensor, "*b S A S"]
Canonical = Callable[[Tensor, Tensor, float, Tensor], Tensor]


def none(
    reward: Rewards, transition: Float[Tensor, "S A S"], discount: float | int, policy: Float[Tensor, "S A"]
) -> Rewards:
    """The reward as it is."""
    del transition, discount, policy
    return reward


def val(
    reward: Rewards, transition: Float[Tensor, "S A S"], discount: float | int, policy: Float[Tensor, "S A"]
) -> Rewards:
    """Value-adjusted levelling: the advantage A^pi(s, a), the same for all s'. Removes both."""
    mean, value = expected(transition, reward), _value(reward, transition, discount, policy)
    level = mean + discount * torch.einsum("saz,...z->...sa", transition, value) - value[..., None]
    return level[..., None].expand(reward.shape)


def val_potential(
    reward: Rewards, transition: Float[Tensor, "S A S"], discount: float | int, policy: Float[Tensor, "S A"]
) -> Rewards:
    """R + discount V^pi(s') - V^pi(s). Removes shaping alone, so it makes no STARC distance."""
    return _shaped(reward, _value(reward, transition, discount, policy), discount)


def minimal(
    reward: Rewards, transition: Float[Tensor, "S A S"], discount: float | int, policy: Float[Tensor, "S A"]
) -> Rewards:
    """The reward of least Euclidean length over both changes: weighted least squares for the potential, then the mean
    of each state and action laid out over s' in proportion to T."""
    del policy
    weight = 1 / transition.square().sum(-1)
    level = _levelled(reward, transition, discount, weight)
    return (level * weight)[..., None] * transition


def minimal_weighted(
    reward: Rewards, transition: Float[Tensor, "S A S"], discount: float | int, policy: Float[Tensor, "S A"]
) -> Rewards:
    """The reward of least length where (s, a) are uniform and s' ~ T: ordinary least squares. Removes both."""
    del policy
    level = _levelled(reward, transition, discount, torch.ones_like(transition[..., 0]))
    return level[..., None].expand(reward.shape)


def minimal_potential(
    reward: Rewards, transition: Float[Tensor, "S A S"], discount: float | int, policy: Float[Tensor, "S A"]
) -> Rewards:
    """The reward of least Euclidean length over shapings alone, so it makes no STARC distance."""
    del policy
    states, actions, _ = transition.shape
    # Normal equations of the design discount e_s' - e_s over all s, a, s'.
    normal = torch.full((states, states), -2 * discount * actions, dtype=transition.dtype)
    normal.diagonal().add_(actions * states * (1 + discount**2))
    pull = discount * reward.sum((-3, -2)) - reward.sum((-2, -1))
    phi = -torch.linalg.solve(normal, pull[..., None])[..., 0]
    return _shaped(reward, phi, discount)


def epic(
    reward: Rewards, transition: Float[Tensor, "S A S"], discount: float | int, policy: Float[Tensor, "S A"]
) -> Rewards:
    """R + discount m(s') - m(s) - discount E m(S), m(x) the mean of R(x, A, S'), S uniform and A ~ policy. Removes shaping."""
    del transition
    mean = torch.einsum("sa,...saz->...s", policy, reward) / reward.shape[-1]
    centre = discount * mean.mean(-1)[..., None, None, None]
    return _shaped(reward, mean, discount) - centre


def dard(
    reward: Rewards, transition: Float[Tensor, "S A S"], discount: float | int, policy: Float[Tensor, "S A"]
) -> Rewards:
    """R + E[discount R(s', A, S'') - R(s, A, S') - discount R(S', A, S'')], S' ~ T(s, A), S'' ~ T(s', A), one and the same
    A ~ policy. Removes shaping."""
    after = torch.einsum("sa,...sa->...s", policy, expected(transition, reward))
    between = torch.einsum("a,sax,...xay,zay->...sz", *_alike(policy), transition, reward, transition)
    return _shaped(reward, after, discount) - discount * between[..., :, None, :]


def srrd(
    reward: Rewards, transition: Float[Tensor, "S A S"], discount: float | int, policy: Float[Tensor, "S A"]
) -> Rewards:
    """DARD's terms, and those in which the states it meets lead on (equation of the definition of SRRD).

    R + E[g R(s', A, S1) - R(s, A, S2) - g R(S3, A, S4) + g^2 R(S1, A, S5) - g R(S2, A, S6) + g R(S3, A, S6) - g^2 R(S4, A, S5)],
    with g the discount; S1, S2, S4 follow s', s, S3; S5, S6 follow S1, S2; S3 is uniform. Removes shaping.
    """
    g, states = discount, reward.shape[-1]
    step = torch.einsum("sa,saz->sz", policy, transition)
    paid = torch.einsum(
        "sa,...saz->...sz", policy, reward
    )  # what a step from s to z pays on average over actions
    after = torch.einsum("sa,...sa->...s", policy, expected(transition, reward))  # to where it leads
    start = torch.full((states,), 1 / states, dtype=reward.dtype)
    fourth = start @ step
    twice = step @ step
    onward = torch.einsum("xs,...s->...x", step, after)  # one step later
    of_next = g * after + g**2 * onward
    of_next = of_next - g**2 * torch.einsum("s,...sz,xz->...x", fourth, paid, twice)
    of_here = -after - g * onward + g * torch.einsum("s,...sz,xz->...x", start, paid, twice)
    centre = g * torch.einsum("s,...s->...", start, after)
    return reward + of_next[..., None, None, :] + of_here[..., :, None, None] - centre[..., None, None, None]


CANONICAL: dict[str, Canonical] = {
    "none": none,
    "val": val,
    "val-potential": val_potential,
    "minimal": minimal,
    "minimal-weighted": minimal_weighted,
    "minimal-potential": minimal_potential,
    "epic": epic,
    "dard": dard,
    "srrd": srrd,
}
STARC = (
    "val",
    "minimal",
    "minimal-weighted",
)  # those that remove shaping and redistribution, and nothing else


def canonical(
    name: str,
    reward: Rewards,
    transition: Float[Tensor, "S A S"],
    discount: float | int,
    policy: Float[Tensor, "S A"] | None = None,
) -> Rewards:
    """A canonical reward by name; `policy` is uniform by default.

    Raises:
        ValueError: there is none of this name.
    """
    if name not in CANONICAL:
        raise ValueError(f"no canonical reward is called {name!r}; there are {', '.join(CANONICAL)}.")
    return CANONICAL[name](reward, transition, discount, uniform(transition) if policy is None else policy)


def _value(
    reward: Tensor, transition: Tensor, discount: float | int, policy: Tensor
) -> Float[Tensor, "*b S"]:
    step = torch.einsum("sa,saz->sz", policy, transition)
    gain = torch.einsum("sa,...sa->...s", policy, expected(transition, reward))
    here = torch.eye(len(step), dtype=step.dtype) - discount * step
    return torch.linalg.solve(here, gain.reshape(-1, len(step)).T).T.reshape(gain.shape)


def _shaped(reward: Tensor, potential: Float[Tensor, "*b S"], discount: float | int) -> Rewards:
    return reward + discount * potential[..., None, None, :] - potential[..., :, None, None]


def _levelled(
    reward: Tensor, transition: Tensor, discount: float | int, weight: Float[Tensor, "S A"]
) -> Float[Tensor, "*b S A"]:
    """m + D phi of least weighted length, m the mean over s' and D = discount T - e_s."""
    states, actions, _ = transition.shape
    mean = expected(transition, reward)
    here = torch.eye(states, dtype=transition.dtype)[:, None].expand(-1, actions, -1)
    root = weight.sqrt()
    design = ((discount * transition - here) * root[..., None]).reshape(-1, states)
    goal = (mean * root).reshape(-1, states * actions).T
    phi = -torch.linalg.lstsq(design, goal, driver="gelsy").solution
    left = goal + design @ phi
    return left.T.reshape(mean.shape) / root


def _alike(policy: Float[Tensor, "S A"]) -> tuple[Float[Tensor, " A"]]:
    """The chances of A in DARD, where one action is taken in several states."""
    if bool(((policy - policy[:1]).abs() > 1e-12).any()):
        raise ValueError(
            "DARD takes one action in several states, so `policy` must be the same in every state; leave it out for "
            "the uniform one."
        )
    return (policy[0],)


__all__ = ["CANONICAL", "STARC", "canonical"]
