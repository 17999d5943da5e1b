"""Policies from answers alone on simulated worlds; run as `python benchmarks/theory.py direct`.

Two camps want different goals. Their answers come from regret: what a segment lost against the camp's own best policy, played
on from both of its ends, so that values are played rather than fitted. Everybody learns from the same 2,000 segments.
"""

import math
import time
from typing import Any

# What each camp likes, in utils per unit of a factor.
WORLDS = {
    "maze": ({"red": 1.0, "effort": -0.02}, {"blue": 1.0, "effort": -0.02}),
    "reacher": ({"red": 1.0, "power": -0.002}, {"green": 1.0, "power": -0.002}),
}
SEEDS = (1, 2, 3, 4, 5)  # settings were looked for on seed 0
SEGMENTS, STEPS = 2000, 10
EPISODES, OPENING = (
    200,
    25,
)  # of each camp's policy, half as many by chance; of which the first so many steps are cut
NOISE, ASTRAY = (0.2, 1.0), 0.3  # added to actions, by episode; part of the time that is spent at random
RATERS, EACH, SHARPNESS = 100, 200, 5.0  # log-odds of a typical difference in regret
AHEAD = 50  # steps played on from a segment's ends; later ones are taken to pay as the last one did
DIRECT = {"bias": 0.7, "rate": 5e-3, "imitation": 200, "updates": 1500}
OFFLINE = {"sharpness": 10.0, "expectile": 0.8, "updates": 2000}


def direct(*names: str) -> dict[str, Any]:
    """Share of what there is to gain over random actions, by seed; 1 is the camp's own policy, trained in the world."""
    bars = "cpl within a tenth of iql; both camps at .8 or more when told whom it serves, neither when not"
    return {"bars": bars} | {name: _world(name) for name in names or WORLDS}


def _world(name: str) -> dict[str, Any]:
    import torch

    from pluralign.metrics.estimate import iqm, paired

    bed = Bed(name)
    rows = [bed.run(seed) for seed in SEEDS]
    found: dict[str, Any] = {"returns": {"random": bed.low.tolist(), "best": bed.high.tolist()}}
    for key in rows[0]:
        score = torch.tensor([row[key] for row in rows], dtype=torch.float64)
        found[key] = _told(iqm(score[:, None])) | {"seeds": score.tolist()}
    one, other = (torch.tensor([row[key] for row in rows]) for key in ("cpl, one camp", "iql, one camp"))
    found["cpl less iql"] = _told(paired(one, other))
    return found


def _told(estimate: Any) -> dict[str, float]:
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high}


class Bed:
    """A world, its camps and their best policies."""

    def __init__(self, name: str) -> None:
        import dataclasses

        import torch
        from pluralign_envs import make_world

        from pluralign.lab.beds import bed
        from pluralign.population.voices import Voices
        from pluralign.raters.factors import Factors

        self.name, self.learner = name, dataclasses.replace(bed(name).learner(), episodes=128)
        names = [factor.name for factor in make_world(bed(name).world).factors]
        taste = torch.tensor([[camp.get(f, 0.0) for f in names] for camp in WORLDS[name]]).double()
        self.voices = Voices(Factors(), taste, torch.tensor([0.5, 0.5]).double(), ("camp 0", "camp 1"))
        even = torch.eye(2).double()
        self.best = [self.learner.improve(self.voices, even[g], seed=g) for g in range(2)]
        played = [self._returns(policy) for policy in self.best]
        self.low = self._returns(self.learner.random())
        self.high = torch.stack([played[0][0], played[1][1]])

    def _returns(self, policy: Any) -> Any:
        return self.learner.returns(policy, self.voices, seed=777).mean(0)

    def score(self, policy: Any, camp: int) -> float:
        """Share of the camp's gain."""
        return float(((self._returns(policy) - self.low) / (self.high - self.low))[camp])

    def run(self, seed: int) -> dict[str, float]:
        """Every learner on one data set."""
        import torch

        from pluralign import Camps
        from pluralign.policies import IQL
        from pluralign.policies.direct import Direct
        from pluralign.streams import Streams

        streams, begun = Streams.of(seed).below(self.name), time.process_time()
        pieces = self.pieces(streams)
        data, camp = self.answers(pieces, streams)
        low, high = torch.full((2,), -1.0), torch.ones(2)
        method, mine = Direct("cpl", **DIRECT), seed % 2
        told = method.fit(data, Camps(groups=2).fit(data, seed=seed), seed, low=low, high=high)
        all_alike = method.fit(data, None, seed, low=low, high=high).policy
        one = method.fit(data.take(camp[data.rater] == mine), None, seed, low=low, high=high).policy
        offline = IQL(pieces, self.learner, self.learner.discount, **OFFLINE)
        paid = offline.improve(self.voices, torch.eye(2)[mine], seed=seed)
        copied = Direct(updates=0, imitation=600).fit(data, None, seed, low=low, high=high).policy
        found = {
            "cpl, one camp": self.score(one, mine),
            "iql, one camp": self.score(paid, mine),
            "imitation, one camp": self.score(copied, mine),
        }
        for g in range(2):
            found[f"personalised cpl, camp {g}"] = self.score(told.of(data.rater_ids[g]), g)
            found[f"pooled cpl, camp {g}"] = self.score(all_alike, g)
        for kind in ("personalised", "pooled"):
            both = [found[f"{kind} cpl, camp {g}"] for g in range(2)]
            found[f"{kind} cpl, worse off"], found[f"{kind} cpl, better off"] = min(both), max(both)
        found["processor seconds"] = time.process_time() - begun
        print(self.name, seed, {key: round(value, 3) for key, value in found.items()}, flush=True)
        return found

    def pieces(self, streams: Any) -> Any:
        """Segments of what noisy copies of both policies do at first, and of random actions."""
        import dataclasses

        import numpy as np

        from pluralign.lab.episodes import collect, joined

        random, noise = self.learner.random(), np.linspace(*NOISE, EPISODES)
        parts = [
            collect(
                self.learner.world,
                Noisy(policy, noise),
                EPISODES,
                streams.below("noisy", g),
                random=random,
                part=ASTRAY,
            )
            for g, policy in enumerate(self.best)
        ]
        by_chance = streams.below("by chance")
        parts.append(collect(self.learner.world, random, EPISODES // 2, by_chance, random=random, part=1.0))
        whole = joined(parts)
        begun = dataclasses.replace(
            whole,
            observation=whole.observation[:, : OPENING + 1],
            action=whole.action[:, :OPENING],
            factors=whole.factors[:, :OPENING],
            length=whole.length.clamp(max=OPENING),
        )
        return begun.cut(SEGMENTS, STEPS, streams.below("pieces"))[0]

    def regret(self, pieces: Any) -> Any:
        """(N, 2) utils that each segment lost to each camp: V(start) - (rewards on the way + V(end)), discounted."""
        import torch

        discount = self.learner.discount
        way = pieces.pool(self.voices.reward(pieces.factors.double()), discount)
        value = lambda where, g: self.value(where.double().numpy(), g)
        return torch.stack(
            [
                value(pieces.observation[:, 0], g) - way[:, g] - discount**STEPS * value(pieces.reached, g)
                for g in range(2)
            ],
            1,
        )

    def value(self, seen: Any, camp: int) -> Any:
        """(N,) what the camp's best policy gets from where these observations (N, O) were made."""
        import numpy as np
        import torch
        from pluralign_envs.batch import WorldVectorEnv

        discount, found = self.learner.discount, []
        for some in np.array_split(seen, math.ceil(len(seen) / 500)):
            env = WorldVectorEnv(len(some), self.learner.world, max_episode_steps=AHEAD + 1)
            place, speed = _state(self.name, some)
            env.reset(seed=0)
            now, _ = env.reset(seed=0, options={"qpos": place, "qvel": speed})
            total = torch.zeros(len(some)).double()
            for t in range(AHEAD):
                now, _, _, _, info = env.step(self.best[camp].act(now))
                paid = self.voices.reward(torch.as_tensor(info["factors"]))[:, camp]
                total += discount**t * paid
            env.close()
            found.append(total + discount**AHEAD / (1 - discount) * paid)
        return torch.cat(found)

    def answers(self, pieces: Any, streams: Any) -> tuple[Any, Any]:
        """Pairs, of which everybody rather prefers the one with less regret; every other person is of the same camp."""
        import torch

        from pluralign import Comparisons

        lost, draw = self.regret(pieces), streams("pairs")
        rater, camp = torch.arange(RATERS).repeat_interleave(EACH), torch.arange(RATERS) % 2
        first = torch.randint(SEGMENTS, rater.shape, generator=draw)
        second = (first + 1 + torch.randint(SEGMENTS - 1, rater.shape, generator=draw)) % SEGMENTS
        typical = lost.std(0) * math.sqrt(2)
        gap = ((lost[second] - lost[first]) / typical).gather(1, camp[rater][:, None])[:, 0]
        says = torch.rand(rater.shape, generator=draw) < torch.sigmoid(SHARPNESS * gap)
        return Comparisons.pairs(pieces, first, second, rater, says.double()), camp


class Noisy:
    """A policy with normal noise on its actions, another amount for every copy of the world."""

    def __init__(self, policy: Any, noise: Any) -> None:
        self.policy, self.noise = policy, noise

    def act(self, observation: Any, *, generator: Any = None) -> Any:
        import numpy as np

        wanted = self.policy.act(observation, generator=generator)
        off = self.noise[: len(wanted), None] * generator.standard_normal(wanted.shape)
        return np.clip(wanted + off, -1, 1).astype(np.float32)


def _state(name: str, seen: Any) -> tuple[Any, Any]:
    """Positions and speeds, which the observations of these worlds hold."""
    import numpy as np

    if name == "maze":
        return seen[:, :2], seen[:, 2:4]
    return np.arctan2(seen[:, 2:4], seen[:, :2]), seen[:, 4:6]
