"""Steps that cover a simulated world, for distances between rewards: where a mixture of policies comes, any action is tried."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pluralign.metrics.sampled import Transitions, waves
from pluralign.policies.learner import Policy
from pluralign.streams import Seed, Streams

HELD = (1, 4, 12)  # steps for which a random action is held, each by a third of the walkers


@dataclass(frozen=True)
class Cover:
    """How a world is covered.

    Walkers are moved by random actions that are held for 1, 4 or 12 steps, and by `policies` if there are any, in equal parts.
    At every state that a walker passes, another action is tried, uniform in the box that the world takes: its outcome is a
    sampled step, and the walker goes on as if nothing had been. So states are those that policies visit, actions are
    independent of how the state was come by, and no state is made up that the world could not be in.

    Attributes:
        steps: how many are sampled, about.
        discount: per step.
        branches: next states of each step. More than one makes sense where `noise` is positive.
        noise: standard deviation of what is added to the actions that are tried, in half-widths of their range; a
            reward sees the action that was meant.
        walkers: walks side by side; each is a unit of the standard error.
        waves: features of states from which potentials are made, besides factors, coordinates and their products.
        learned: minibatches for which a network that joins them is trained, see `Transitions`.
    """

    steps: int = 100_000
    discount: float = 0.97
    branches: int = 1
    noise: float = 0.0
    walkers: int = 250
    waves: int = 300
    learned: int = 4000

    def __post_init__(self) -> None:
        for name, least in (("steps", 2), ("branches", 1), ("walkers", 2), ("waves", 0), ("learned", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"`{name}` must be at least {least}, got {getattr(self, name)}.")
        if not 0 <= self.discount < 1:
            raise ValueError(f"`discount` must be in [0, 1), got {self.discount}; give 0.99, not a horizon.")
        if self.noise < 0:
            raise ValueError(f"`noise` must not be negative, got {self.noise}.")

    def sample(self, world: str, *, policies: Sequence[Policy] = (), seed: Seed = 0) -> Transitions:
        """Steps of the world called `world`, a name of `pluralign list worlds`."""
        from pluralign_envs import make_world
        from pluralign_envs.physics import Physics

        made = make_world(world)
        streams = Streams.of(seed)
        rng = lambda name: np.random.default_rng(streams.number(name))
        walkers = min(self.walkers, self.steps)
        length = -(-self.steps // walkers)
        place, speed, steady = _walk(made, walkers, length, policies, rng)
        count = len(place)
        physics = Physics(made, count, 0)
        try:
            low, high = physics.model.actuator_ctrlrange.T
            tried = rng("tried").uniform(low, high, (count, len(low)))
            stir = rng("noise")
            after, factors = [], []
            for _ in range(self.branches):
                shaken = tried + self.noise * (high - low) / 2 * stir.standard_normal(tried.shape)
                physics.place(np.arange(count), place, speed)
                steady = steady & ~physics.step(np.clip(shaken, low, high))
                after.append(_state(made, physics.qpos, physics.qvel))
                factors.append(made.measure(physics.qpos, physics.qvel, np.clip(shaken, low, high)))
        finally:
            physics.close()
        states = _state(made, place, speed)
        kept = np.flatnonzero(steady)
        tensor = lambda x: torch.as_tensor(np.ascontiguousarray(x[kept]))
        state = tensor(states)
        return Transitions(
            state,
            tensor(tried),
            tensor(np.stack(after, 1)),
            self.discount,
            tensor(np.stack(factors, 1)),
            rollout=torch.as_tensor(np.tile(np.arange(walkers), length)[kept]),
            features=Seen(made.observation_size, waves(state[:, : made.observation_size], self.waves)),
            learned=self.learned,
            observed=made.observation_size,
            names=tuple(factor.name for factor in made.factors),
        )


@dataclass(frozen=True)
class Seen:
    """Features of a state that is observed and measured: waves of what is observed, and each factor of a state at rest.

    Attributes:
        width: numbers of an observation; what follows them in a state are factors.
        waves: of the observation.
    """

    width: int
    waves: Callable[[Tensor], Tensor]

    def __call__(self, state: Tensor) -> Tensor:
        return torch.cat([self.waves(state[:, : self.width]), state[:, self.width :]], 1)


def _state(world: Any, qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
    """What is observed, then the factors that the state would publish if nothing acted on it."""
    still = np.zeros((len(qpos), _actuators(world)))
    return np.concatenate([world.observe(qpos, qvel), world.measure(qpos, qvel, still)], -1)


def _actuators(world: Any) -> int:
    import mujoco

    return int(mujoco.MjModel.from_xml_string(world.mjcf).nu)


def _walk(
    world: Any, walkers: int, length: int, policies: Sequence[Policy], rng: Callable[[str], Any]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(length * walkers, .) positions and speeds that are passed, and whether the simulation was stable there."""
    from pluralign_envs.physics import Physics

    physics = Physics(world, walkers, 0)
    try:
        low, high = physics.model.actuator_ctrlrange.T
        start, act, draw = rng("start"), rng("act"), rng("policies")
        begin = lambda count: world.start(start.random((count, world.draws)))
        physics.place(np.arange(walkers), *begin(walkers))
        # Walks begin at different times, so that early and late states are met alike.
        age = rng("age").integers(world.horizon, size=walkers)
        kinds = len(HELD) + len(policies)
        kind = np.arange(walkers) % kinds
        held = np.array([HELD[k] if k < len(HELD) else 1 for k in kind])
        force = act.uniform(low, high, (walkers, len(low)))
        place, speed, steady = [], [], []
        for step in range(length):
            place.append(physics.qpos.copy())
            speed.append(physics.qvel.copy())
            fresh = (step % held) == 0
            force[fresh] = act.uniform(low, high, (int(fresh.sum()), len(low)))
            for k, policy in enumerate(policies, len(HELD)):
                mine = kind == k
                seen = world.observe(physics.qpos[mine], physics.qvel[mine]).astype(np.float32)
                force[mine] = np.clip(policy.act(seen, generator=draw), low, high)
            lost = physics.step(force)
            steady.append(~lost)
            age += 1
            again = np.flatnonzero(lost | (age >= world.horizon))
            if len(again):
                physics.place(again, *begin(len(again)))
                age[again] = 0
        return np.concatenate(place), np.concatenate(speed), np.concatenate(steady)
    finally:
        physics.close()
