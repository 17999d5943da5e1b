"""A simulation that becomes unstable while a policy trains: its last step teaches nothing, and is counted."""

import gymnasium
import numpy as np
import pytest
import torch

from pluralign.data.options import Segments
from pluralign.policies import PPO
from pluralign.policies.learners import SAC
from pluralign.policies.learners.actor import Actor
from pluralign.policies.learners.batch import played
from pluralign.rewards import known_voices

pytest.importorskip("stable_baselines3.ppo")

TOLL = known_voices([[-1.0]])  # every step costs one util: who can end the episode is better off
ONE = torch.ones(1).double()
SETTINGS = {
    "steps": 4000,
    "discount": 0.9,
    "copies": 16,
    "span": 20,
    "batch": 80,
    "hidden": (16,),
    "episodes": 32,
}
LENGTH = 10


class Fragile(gymnasium.vector.VectorEnv):
    """N copies of nothing that break where they are pushed beyond 1; the only factor counts the steps."""

    says_so = True

    def __init__(self, num_envs, limit=1.0):
        self.num_envs, self.limit = num_envs, limit
        self.metadata = {"autoreset_mode": gymnasium.vector.AutoresetMode.SAME_STEP}
        self.single_observation_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.single_action_space = gymnasium.spaces.Box(-3.0, 3.0, (1,), np.float32)
        self.factor_names = ("steps",)

    def _seen(self):
        return np.zeros((self.num_envs, 1), dtype=np.float32)  # the clock cannot be seen

    def reset(self, *, seed=None, options=None):
        self.clock = np.zeros(self.num_envs)
        return self._seen(), {}

    def step(self, actions):
        broken = np.asarray(actions)[:, 0] > self.limit
        self.clock += 1
        over = self.clock >= LENGTH
        info = {"factors": np.ones((self.num_envs, 1))}
        if self.says_so and broken.any():
            info["lost"] = broken
            info["factors"][broken] = 0
        done = over | broken
        if done.any():
            final = np.empty(self.num_envs, dtype=object)
            final[:] = list(self._seen())
            info |= {"final_obs": final, "final_info": {k: v.copy() for k, v in info.items()}}
            self.clock[done] = 0
        return self._seen(), np.zeros(self.num_envs), broken, over & ~broken, info


class Silent(Fragile):
    """The same world, whose breaking looks like any end of an episode."""

    says_so = False


def pushed(policy):
    """What the policy does at the start of an episode."""
    return float(policy.act(np.zeros((1, 1)))[0, 0])


def test_nobody_learns_to_break_the_simulation():
    """Ending the episode saves its toll: told of an end, PPO learns to push; told of a break, it learns nothing."""
    silent = PPO(Silent, **SETTINGS).improve(TOLL, ONE, seed=0)
    with pytest.warns(UserWarning, match=r"\d+ training episodes became unstable.*not learned from"):
        told = PPO(Fragile, **SETTINGS).improve(TOLL, ONE, seed=0)
    assert pushed(silent) > 1.5
    assert abs(pushed(told)) < 0.6  # six seeds: -.12 to .11


def test_a_step_that_did_not_happen_is_no_part_of_an_episode():
    """Copy 0 breaks in its third step, copy 1 never."""
    push = iter([[0.0, 0.0], [0.0, 0.0], [2.0, 0.0], *[[0.0, 0.0]] * LENGTH])
    seen = played(Fragile(2), lambda _: np.array(next(push))[:, None], seed=0, longest=LENGTH)
    assert seen["mask"].sum(1).tolist() == [2, LENGTH]
    assert seen["factors"][:, :, 0].sum(1).tolist() == [2, LENGTH]


class Late(Fragile):
    """Works for as long as an episode, and breaks in every step from then on."""

    def __init__(self, num_envs):
        super().__init__(num_envs, 4.0)
        self.left = LENGTH

    def step(self, actions):
        self.left -= 1
        self.limit = 4.0 if self.left >= 0 else -4.0
        return super().step(actions)


@pytest.mark.parametrize(
    ("world", "message"),
    [
        (lambda n: Fragile(n, -4.0), "unstable in the first step of nearly every"),
        (Late, "unstable in 320 of 320 steps, too many"),
    ],
    ids=["never", "late"],
)
def test_a_world_that_hardly_ever_works_is_one_sentence(world, message):
    with pytest.raises(ValueError, match=message) as caught:
        PPO(world, **SETTINGS).improve(TOLL, ONE, seed=0)
    assert "\n" not in str(caught.value)


def test_steps_after_an_end_have_no_say_in_the_unit_of_a_taste(monkeypatch):
    factors = torch.randn(4, 5, 2, generator=torch.Generator().manual_seed(0))
    padded = Segments(
        torch.cat([factors, torch.zeros(4, 9, 2)], 1), mask=(torch.arange(14) < 5).expand(4, -1).clone()
    )
    one = torch.ones(1)
    monkeypatch.setattr(SAC, "_train", lambda *_: Actor((), one, one, -one, one))
    found = []
    for seen in (Segments(factors), padded):
        monkeypatch.setattr(SAC, "_typical", lambda _, seen=seen: seen)
        voices = known_voices(torch.eye(2).double())
        found.append(SAC("nowhere").personalise(voices.worth, voices.z).gauge.root)
    torch.testing.assert_close(found[0], found[1])
