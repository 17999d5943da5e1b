"""Proximal policy optimisation (Schulman et al. 2017) by Stable-Baselines3, paid by voices."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.data.options import Segments
from pluralign.policies.learner import Policy, Progress, Start, checked_weight, discounted, several
from pluralign.policies.learners.batch import (
    Price,
    World,
    buffer_class,
    made,
    price_each,
    price_of,
    silent,
    stable_class,
)
from pluralign.policies.learners.episodes import (
    RandomPolicy,
    episodes_of,
    happened,
    named,
    one_thread,
    random_policy,
    reading,
)
from pluralign.policies.learners.imitation import Shown, best_of, imitate, joined
from pluralign.policies.learners.network import NetworkPolicy, PersonalNetwork
from pluralign.policies.learners.straying import Straying
from pluralign.population.voices import Voices
from pluralign.rewards.transforms import Gauge
from pluralign.streams import Seed, Streams, quiet_globals
from pluralign.utility import Worth


@dataclass(frozen=True)
class PPO:
    """Trains many copies of a world in one process on one thread; equal seeds give equal policies, bit for bit.

    Rewards are divided by the running spread of their discounted sums, so that their unit does not matter.

    The defaults solve `pluralign/PointMaze-v0` to within one percent of what six times the steps reach.

    Attributes:
        world: an id registered with gymnasium, or a function from N to a vector environment of N copies that
            resets in the same step. Each step publishes `info["factors"]`.
        steps: of the simulator, for one `improve` from scratch. again: the same when it goes on from policies.
        personal: the same for `personalise`. Zero steps stop after imitation.
        discount: per step; the same for training and for `returns`.
        copies, span: every copy makes `span` steps between two updates.
        hidden, learning_rate (falls to zero), epochs, batch, trace (lambda of generalised advantages), clip, entropy:
            of the method.
        noise: standard deviation of the first actions, in their own unit. noise_again: the same when going on.
        imitation: updates of the network before training goes on.
        strays: times that episodes of known policies are played again, each led astray by random actions for a while,
            and imitated where that was better: gradients find no way round what stands in the way.
        episodes: for `returns`. longest: steps of an episode at most.
        watch: told after each batch of steps how many were made since the last and what a step was paid on average.
    """

    world: World
    steps: int = 100_000
    again: int = 50_000
    personal: int = 100_000
    discount: float = 0.97
    copies: int = 32
    span: int = 64
    hidden: tuple[int, ...] = (64, 64)
    learning_rate: float = 2e-3
    epochs: int = 5
    batch: int = 256
    trace: float = 0.95
    clip: float = 0.2
    entropy: float = 0.0
    noise: float = 1.0
    noise_again: float = 0.4
    imitation: int = 1000
    strays: int = 0
    episodes: int = 256
    longest: int = 1000
    watch: Callable[[int, float], Any] | None = dataclasses.field(default=None, compare=False, repr=False)

    @staticmethod
    def quick(world: World, **settings: Any) -> "PPO":
        """A third of the training, and imitation alone where there is something to go on from: for a first look."""
        return PPO(world, **{"steps": 40_000, "again": 0, "personal": 0, "episodes": 128, **settings})

    def improve(
        self,
        voices: Voices,
        weight: Float[Tensor, " G"],
        *,
        seed: Seed = 0,
        start: Start = None,
        progress: Progress | None = None,
    ) -> NetworkPolicy:
        """Train for the weighted sum of the voices, from a random network or from what the best of `start` did.

        Why several: a reward that mixes two goals has a good policy for each of them alone, and gradients find no
        way from there to "it depends on where you are". So a network first imitates, for each first state, the
        policy that got most from it.
        """
        streams, weight = Streams.of(seed), checked_weight(weight, voices)
        taste = voices.mixed(weight.to(voices.z))
        price = price_of(voices.worth, taste)
        known = several(start)
        if not known:
            return self._train(price, np.zeros((1, 0)), self.steps, streams, None, progress)[1]
        look = lambda policy: self.rollout(policy, self.episodes, seed=streams.number("shown"))
        seen = [look(policy) for policy in known]
        strayed = self._strayed(known, seen[0].factors.shape[1], streams)
        shown = best_of(seen + strayed, price, self.discount, known=len(known))
        both = self._train(price, np.zeros((1, 0)), self.again, streams, shown, progress)
        # Never worse than where it began: training that goes on may also lose what was there.
        found = [(policy, look(policy)) for policy in reversed(both)]
        found += [(p, s) for p, s in zip(known, seen, strict=True) if isinstance(p, NetworkPolicy)]
        gain = [float(discounted(voices, s, self.discount).mean(0) @ weight) for _, s in found]
        return found[int(np.argmax(gain))][0]

    def _strayed(self, known: tuple[Policy, ...], steps: int, streams: Streams) -> list[Segments]:
        """Episodes from the first states of those shown, by turns of the known policies, led astray."""
        random, found = self.random(), []
        for turn in range(self.strays):
            rng = np.random.default_rng(streams.number("stray", turn))
            policy = Straying(known[turn % len(known)], random, steps, rng)
            found.append(self.rollout(policy, self.episodes, seed=streams.number("shown")))
        return found

    def random(self) -> "RandomPolicy":
        """Uniformly random actions."""
        return random_policy(self.world)

    def returns(self, policy: Policy, voices: Voices, *, seed: Seed = 0) -> Float[Tensor, "E G"]:
        """(E, G) discounted returns of `episodes` episodes."""
        return discounted(voices, self.rollout(policy, self.episodes, seed=seed), self.discount)

    def rollout(self, policy: Policy, episodes: int, *, seed: Seed = 0) -> Segments:
        """Episodes from reset to end, all at once; equal seeds give equal first states."""
        return episodes_of(self.world, policy, episodes, seed=seed, longest=self.longest)

    def personalise(
        self,
        worth: Worth,
        tastes: Float[Tensor, "K Z"],
        *,
        seed: Seed = 0,
        start: Start = None,
        progress: Progress | None = None,
    ) -> PersonalNetwork:
        """One network for all tastes: each episode serves one of `tastes`, which the network is told.

        Every taste is paid in units of its own spread over the steps of a random policy and of `start`: who reports in
        units ten times as large gets the same policy and takes no attention from others. From `start` the network first
        imitates, for every taste and first state, the policy that got most; without, a taste whose goal was not
        found while others' were may never be served, as the network has learned to go elsewhere.
        """
        streams = Streams.of(seed)
        seen = [self.rollout(p, 64, seed=streams.number("shown")) for p in several(start)]
        # Where random actions never see a goal, they cannot tell how much of it there is to have.
        gauge = Gauge.of(worth, torch.cat([happened(s) for s in (self._typical(), *seen)]))
        # In single precision, so that no rounding tells how large a taste was.
        unit, told = gauge.unit(tastes).float().double(), gauge.direction(tastes).float().double()
        price = price_each(worth, unit)
        shown = None
        if seen:
            # A few tastes say enough about where to begin.
            some = torch.randperm(len(tastes), generator=streams("whom to imitate"))[:32].tolist()
            shown = joined([best_of(seen, price, self.discount, who, told[who]) for who in some])
        both = self._train(price, told.numpy(), self.personal, streams, shown, progress)
        if shown is None:
            return PersonalNetwork(both[1], gauge)
        found = [PersonalNetwork(network, gauge) for network in reversed(both)]
        gain = []
        few = max(self.episodes // 4, 8)
        for policy in found:
            paid = [
                self.rollout(policy.of(tastes[who]), few, seed=streams.number("shown")) for who in some[:8]
            ]
            total = [
                s.pool(worth.steps(s.factors), self.discount) @ unit[who] for s, who in zip(paid, some[:8])
            ]
            gain.append(float(torch.cat(total).mean()))
        return found[int(np.argmax(gain))]

    def _typical(self) -> Segments:
        """What random actions lead to; always the same episodes, so that scales do not depend on a seed."""
        return self.rollout(self.random(), self.copies)

    def _train(
        self,
        price: Price,
        tastes: np.ndarray,
        steps: int,
        streams: Streams,
        shown: Shown | None,
        progress: Progress | None,
    ) -> tuple[NetworkPolicy, NetworkPolicy]:
        """The network before and after training."""
        with quiet_globals():  # something it imports draws a number when it is first loaded
            from stable_baselines3 import PPO as StablePPO
            from stable_baselines3.common.callbacks import BaseCallback

        class Tell(BaseCallback):
            def _on_step(self) -> bool:
                return True

            def _on_rollout_end(self) -> None:
                done = self.training_env.num_envs * self.model.n_steps  # type: ignore[attr-defined]
                if progress is not None:
                    progress(done)
                if watch is not None:
                    watch(done, paid.tally())

        watch = self.watch
        env = made(self.world, self.copies)
        try:
            space = env.single_action_space
            centre, scale = self._scales(env)
            paid = stable_class()(
                env,
                price,
                centre=centre.numpy(),
                scale=scale.numpy(),
                tastes=tastes,
                discount=self.discount,
                rng=np.random.default_rng(streams.number("who is served")),
                seed=streams.number("train") % 2**31,
                known=np.zeros(0) if shown is None else shown.running.numpy(),
            )
            with one_thread(), quiet_globals():
                trainer = StablePPO(
                    "MlpPolicy",
                    paid,
                    learning_rate=lambda left: self.learning_rate * left,
                    n_steps=self.span,
                    batch_size=self.batch,
                    n_epochs=self.epochs,
                    gamma=self.discount,
                    gae_lambda=self.trace,
                    clip_range=self.clip,
                    ent_coef=self.entropy,
                    policy_kwargs={
                        "net_arch": list(self.hidden),
                        "log_std_init": float(np.log(self.noise if shown is None else self.noise_again)),
                    },
                    rollout_buffer_class=buffer_class(),
                    seed=streams.number("stable baselines") % 2**31,
                    device="cpu",
                )
                trainer.set_logger(silent())
                trainer.rollout_buffer.paid = paid  # type: ignore[attr-defined]
                if shown is not None:
                    read = torch.cat([((shown.observation - centre) / scale).float(), shown.told.float()], 1)
                    imitate(trainer.policy, read, shown.action, shown.ahead / paid.unit, self.imitation)
                before = _state(trainer)
                if steps:
                    trainer.learn(steps, callback=Tell())
                after = _state(trainer)
        finally:
            env.close()
        paid.warn()
        counted = hasattr(space, "n")
        low = torch.zeros(0) if counted else torch.as_tensor(space.low)
        high = torch.zeros(0) if counted else torch.as_tensor(space.high)
        told = torch.zeros(tastes.shape[1]) if tastes.shape[1] else None
        first = NetworkPolicy(before, self.hidden, centre, scale, low, high, told, named(self.world))
        return first, dataclasses.replace(first, state=after)

    def _scales(self, env: Any) -> tuple[Tensor, Tensor]:
        space = env.single_observation_space
        if space.shape is None or len(space.shape) != 1:
            raise ValueError(f"observations must be one row of numbers, got the space {space}; flatten them.")
        return reading(self._typical())


def _state(trainer: Any) -> dict[str, Tensor]:
    return {name: x.detach().clone() for name, x in trainer.policy.state_dict().items()}
