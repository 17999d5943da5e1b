# ---
# jupyter:
#   jupytext:
#     formats: py:percent
# ---

# %% [markdown]
# # Six welfare functions, one cheetah: fair to whom?
#
# Three camps watch a half-cheetah. Six in ten want it to run forwards, three in ten want it to run backwards, and one in
# ten wants it to hold still and save its strength. One robot cannot do all of this. What should it do?
#
# "Be fair" is not an answer: there are many ways to add up what people get, and each is a welfare function. Here six of
# them choose from the same policies, so that nothing differs but the idea of fairness.

# %%
import os

import matplotlib.pyplot as plt
import numpy as np
import pluralign_envs
import torch

from pluralign.policies.game import best_mix
from pluralign.policies.learners.ppo import PPO
from pluralign.rewards import CVaR, Gini, Mean, Nash, SoftMin, WorstOff, known_voices
from pluralign.rewards.transforms import relative_gain

quick = bool(os.environ.get("PLURALIGN_QUICK"))
WORLD = "pluralign/Cheetah-v0"
names = [factor.name for factor in pluralign_envs.make_world(WORLD).factors]
print(names)

# %% [markdown]
# ## What each camp wants
#
# Tastes are utils per step and unit of each factor: metres per second forwards, and watts of motor power.

# %%
wants = {
    "forwards": {"speed": 1.0, "power": -5e-5},
    "backwards": {"speed": -1.0, "power": -5e-5},
    "at rest": {"power": -1e-3},
}
camps = known_voices(
    [[taste.get(name, 0.0) for name in names] for taste in wants.values()],
    [0.6, 0.3, 0.1],
    names=tuple(wants),
)

# %% [markdown]
# ## What can be done
#
# Each camp's own best policy, by PPO, and two that mix what the running camps want with rest. Returns of different camps
# have no common unit, so each is put on a scale: 0 is what random actions bring, 1 the camp's own best policy.

# %%
learner = PPO(WORLD, steps=25_000 if quick else 60_000, noise=0.4, episodes=32)
weights = {
    "forwards": [1, 0, 0],
    "backwards": [0, 1, 0],
    "at rest": [0, 0, 1],
    "forwards, gently": [0.5, 0, 0.5],
    "backwards, gently": [0, 0.5, 0.5],
}
policies = {
    name: learner.improve(camps, torch.tensor(weight).double(), seed=0) for name, weight in weights.items()
}
returns = torch.stack(
    [learner.returns(policy, camps, seed=1).double().mean(0) for policy in policies.values()]
)
random = learner.returns(learner.random(), camps, seed=1).double().mean(0)
scale = relative_gain(random, returns.amax(0), names=camps.names)
gains = scale(returns)
print(f"{'':20}", *(f"{name:>12}" for name in camps.names))
for name, row in zip(policies, gains.tolist(), strict=True):
    print(f"{name:20}", *(f"{x:12.2f}" for x in row))

# %% [markdown]
# ## Six ways to choose
#
# The robot may draw its policy before each episode. A welfare function looks at what every camp gets on average, and at
# how many people are in it, and picks the chances.

# %%
ideas = {
    "mean": Mean(),
    "worst off": WorstOff(),
    "Nash": Nash(),
    "worst third": CVaR(1 / 3),
    "Gini": Gini(),
    "soft minimum": SoftMin(0.2),
}
chosen = {name: best_mix(gains, idea, camps.weight) for name, idea in ideas.items()}
print(f"{'':14}", *(f"{name:>12}" for name in camps.names), "  what is played")
for name, mix in chosen.items():
    played = ", ".join(
        f"{c:.0%} {p}" for p, c in zip(policies, mix.chance.tolist(), strict=True) if c > 0.005
    )
    print(f"{name:14}", *(f"{x:12.2f}" for x in mix.returns.tolist()), "  " + played)

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
at = np.arange(len(chosen))
for g, (name, colour) in enumerate(zip(camps.names, ("#0072b2", "#d55e00", "#009e73"), strict=True)):
    left.bar(
        at + 0.27 * (g - 1), [float(m.returns[g]) for m in chosen.values()], 0.25, color=colour, label=name
    )
left.axhline(1, color="#3b4754", linewidth=0.8, linestyle=":")
left.set_xticks(at, chosen, rotation=20)
left.set_ylabel("what a camp gets of its best")
left.legend(frameon=False, fontsize=8)
mean = [float(m.returns @ camps.weight) for m in chosen.values()]
worst = [float(m.returns.min()) for m in chosen.values()]
right.plot(mean, worst, "o", color="#0b6e4f")
for name, x, y in zip(chosen, mean, worst, strict=True):
    right.annotate(name, (x, y), textcoords="offset points", xytext=(5, 4), fontsize=8)
right.set(xlabel="mean over people", ylabel="worst-off camp")
plt.show()

# %% [markdown]
# No dot is above and to the right of all others. The mean is the highest that the mean can be, the worst off the highest
# that the smallest can be, and the others buy some of one with some of the other. Which trade is right is not
# a question about robots. What the model can say is what each answer costs, and whom.
#
# Two things to notice. Scale comes before welfare: "half of its best" is a decision about how to compare camps, made
# before any of the six was asked. And shares matter to some ideas and not to others. Below, nine in ten want to run
# forwards: the worst off does not look at numbers of people, and all others do, as far as there is something left to give.

# %%
few = torch.tensor([0.9, 0.09, 0.01]).double()
for name, idea in ideas.items():
    moved = best_mix(gains, idea, few).returns - chosen[name].returns
    print(f"{name:14}", *(f"{x:+12.2f}" for x in moved.tolist()))
