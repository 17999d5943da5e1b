"""Soft actor-critic (Haarnoja et al. 2018) by Stable-Baselines3, paid by voices."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.data.options import Segments
from pluralign.policies.learner import Policy, Progress, Start, checked_weight, discounted
from pluralign.policies.learners.actor import Actor
from pluralign.policies.learners.batch import Price, World, made, price_each, price_of, silent, stable_class
from pluralign.policies.learners.episodes import (
    RandomPolicy,
    episodes_of,
    happened,
    named,
    one_thread,
    random_policy,
    reading,
)
from pluralign.policies.learners.memory import Memory, paid, replay_class, running
from pluralign.policies.learners.network import PersonalNetwork
from pluralign.population.voices import Voices
from pluralign.rewards.transforms import Gauge
from pluralign.streams import Seed, Streams, quiet_globals
from pluralign.utility import Worth


@dataclass(frozen=True)
class SAC:
    """Learns off policy from a memory of all steps: few steps of the simulator, many updates, so slow on a CPU.

    Actions must be numbers. Training always begins from a random network; `start` is not used. With a `memory` it begins
    with all that was seen in earlier searches, paid by the tastes of today.

    Attributes:
        world, discount, hidden, learning_rate, episodes, longest: as in `PPO`.
        steps: of the simulator for one `improve`; personal: for `personalise`.
        copies: of the world that are stepped together. updates: after each step of all copies.
        warmup: steps of random actions first, where nothing is remembered. batch, blend: of the updates, and of the critics' slow copies.
    """

    world: World
    steps: int = 20_000
    personal: int = 40_000
    discount: float = 0.97
    copies: int = 8
    updates: int = 4
    warmup: int = 1000
    hidden: tuple[int, ...] = (64, 64)
    learning_rate: float = 1e-3
    batch: int = 256
    blend: float = 0.01
    episodes: int = 256
    longest: int = 1000
    memory: Memory | None = dataclasses.field(default=None, compare=False, repr=False)

    def improve(
        self,
        voices: Voices,
        weight: Float[Tensor, " G"],
        *,
        seed: Seed = 0,
        start: Start = None,
        progress: Progress | None = None,
    ) -> Actor:
        """Train for the weighted sum of the voices."""
        del start
        taste = voices.mixed(checked_weight(weight, voices).to(voices.z))
        return self._train(
            price_of(voices.worth, taste), np.zeros((1, 0)), self.steps, Streams.of(seed), progress
        )

    def personalise(
        self,
        worth: Worth,
        tastes: Float[Tensor, "K Z"],
        *,
        seed: Seed = 0,
        start: Start = None,
        progress: Progress | None = None,
    ) -> PersonalNetwork:
        """One network for all tastes, each paid in units of its own spread over the steps of a random policy."""
        del start
        gauge = Gauge.of(worth, happened(self._typical()))
        unit, told = gauge.unit(tastes).float().double(), gauge.direction(tastes).float()
        return PersonalNetwork(
            self._train(price_each(worth, unit), told.numpy(), self.personal, Streams.of(seed), progress),
            gauge,
        )

    def random(self) -> RandomPolicy:
        """Uniformly random actions."""
        return random_policy(self.world)

    def returns(self, policy: Policy, voices: Voices, *, seed: Seed = 0) -> Float[Tensor, "E G"]:
        """(E, G) discounted returns of `episodes` episodes."""
        return discounted(voices, self.rollout(policy, self.episodes, seed=seed), self.discount)

    def rollout(self, policy: Policy, episodes: int, *, seed: Seed = 0) -> Segments:
        """Episodes from reset to end, all at once; equal seeds give equal first states."""
        return episodes_of(self.world, policy, episodes, seed=seed, longest=self.longest)

    def _typical(self) -> Segments:
        return self.rollout(self.random(), 32)

    def _train(
        self, price: Price, tastes: np.ndarray, steps: int, streams: Streams, progress: Progress | None
    ) -> Actor:
        with one_thread(), quiet_globals():
            return self._trained(price, tastes, steps, streams, progress)

    def _trained(
        self, price: Price, tastes: np.ndarray, steps: int, streams: Streams, progress: Progress | None
    ) -> Actor:
        from stable_baselines3 import SAC as StableSAC
        from stable_baselines3.common.callbacks import BaseCallback

        class Tell(BaseCallback):
            def _on_step(self) -> bool:
                if progress is not None:
                    progress(self.training_env.num_envs)
                return True

        env = made(self.world, self.copies)
        try:
            space = env.single_action_space
            if hasattr(space, "n"):
                raise ValueError("SAC needs actions that are numbers, this world counts them; use PPO.")
            centre, scale = reading(self._typical())
            old = None if self.memory is None else self.memory.seen
            rng = np.random.default_rng(streams.number("who is served"))
            known, worth = np.zeros(0), np.zeros((0, self.copies))
            if old is not None:
                if old.cut.shape[1] != self.copies or old.read.shape[2] != len(centre):
                    raise ValueError(
                        f"the memory is of {old.cut.shape[1]} copies that observe {old.read.shape[2]} numbers, this world "
                        f"has {self.copies} and {len(centre)}; give each learner its own Memory()."
                    )
                who = rng.integers(len(tastes), size=old.cut.shape)
                worth = paid(old, price, who)
                known = running(old, worth, self.discount)
            copies = stable_class()(
                env,
                price,
                centre=centre.numpy(),
                scale=scale.numpy(),
                tastes=tastes,
                discount=self.discount,
                rng=rng,
                seed=streams.number("train") % 2**31,
                known=known,
            )
            trainer: Any = StableSAC(
                "MlpPolicy",
                copies,
                learning_rate=self.learning_rate,
                buffer_size=(-(-max(steps, 1) // self.copies) + len(worth)) * self.copies,
                learning_starts=self.warmup if old is None else 0,
                batch_size=self.batch,
                tau=self.blend,
                gamma=self.discount,
                train_freq=1,
                gradient_steps=self.updates,
                policy_kwargs={"net_arch": list(self.hidden)},
                replay_buffer_class=replay_class(),
                seed=streams.number("stable baselines") % 2**31,
                device="cpu",
            )
            trainer.set_logger(silent())
            trainer.replay_buffer.paid = copies
            if old is not None:
                trainer.replay_buffer.recall(old, worth, tastes, who, copies.unit)
            trainer.learn(steps, callback=Tell())
            if self.memory is not None:
                self.memory.add(trainer.replay_buffer.seen(len(centre)))
            state = {k: v.detach().clone() for k, v in trainer.actor.state_dict().items()}
        finally:
            env.close()
        copies.warn()
        names = [*(f"latent_pi.{2 * k}" for k in range(len(self.hidden))), "mu"]
        layers = tuple((state[f"{name}.weight"], state[f"{name}.bias"]) for name in names)
        low, high = torch.as_tensor(space.low), torch.as_tensor(space.high)
        actor = Actor(layers, centre, scale, low, high, world=named(self.world))
        return dataclasses.replace(actor, taste=torch.zeros(tastes.shape[1])) if tastes.shape[1] else actor
