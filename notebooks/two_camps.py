# ---
# jupyter:
#   jupytext:
#     formats: py:percent
# ---

# %% [markdown]
# # One policy for two camps: who pays for the average?
#
# Seventy of a hundred people want a robot to go to the red goal, thirty to the blue one. We ask forty of them
# to compare pieces of trajectory, fit one taste to all answers, and send the robot where that taste says. Who
# pays for this? And what would it cost to leave nobody behind?
#
# To see it without noise from training, policies are computed exactly here, on the maze's tabular twin. The
# same story with a simulated body and trained policies is `pluralign experiment maze`.

# %%
import os

import matplotlib.pyplot as plt
import numpy as np
import pluralign_envs
import torch

import pluralign
from pluralign.elicitation import interview
from pluralign.lab.maze_people import ask
from pluralign.policies import MaxMin, PerStepMin, Single, Tabular, maxmin_value
from pluralign.rewards import known_voices
from pluralign.rewards.transforms import relative_gain
from pluralign.streams import Streams

quick = bool(os.environ.get("PLURALIGN_QUICK"))
WORLD = "pluralign/PointMaze-v0"

# %% [markdown]
# ## Ask
#
# Each of 40 people compares 20 pairs of pieces of trajectory. They are human: they choose by Luce's rule, so a
# small difference is often got wrong, and one answer in twenty is a guess.

# %%
answers = ask(
    people=40,
    newcomers=40,
    share=0.7,
    asked=20,
    segments=200 if quick else 400,
    steps=25,
    rationality=1.0,
    lapse=0.05,
    streams=Streams(0),
)
print(pluralign.describe(answers.train))

# %% [markdown]
# ## Explain
#
# A pooled model gives everybody the same taste. Camps by EM give each rater the chance of belonging to each of
# a few tastes, from all of the rater's answers together; how many tastes there are is chosen by held-out answers.

# %%
pooled = pluralign.Pooled().fit(answers.train, seed=0)
camps = pluralign.Camps().fit(answers.train, seed=0)
for name, belief in {"pooled": pooled, "camps": camps}.items():
    print(name, pluralign.evaluate(belief, answers.test), sep="\n")

# %%
chance = camps.draws.weight[0]
order = torch.argsort(answers.met.group.double() * 10 - chance)
figure, ax = plt.subplots(figsize=(8, 2))
ax.bar(range(40), chance[order], color=np.where(answers.met.group[order] == 0, "#c8453b", "#2c6fbb"))
ax.set(xlabel="people, coloured by what they truly want", ylabel="chance of the larger camp", xticks=[])
plt.show()

# %% [markdown]
# The model never saw the colours.
#
# ## Optimise
#
# One policy for the pooled reward, and one lottery that makes the worse-off voice as happy as it can be. Both
# are judged by what the two camps *truly* want: 0 is what random actions bring, 1 what a camp's own best policy
# would bring.

# %%
twin = pluralign_envs.twin(WORLD)
learner = Tabular(twin)
truth = known_voices([[1.0, 0.0, -0.02], [0.0, 1.0, -0.02]], names=("red", "blue"))
own = torch.stack([learner.returns(learner.improve(truth, one), truth)[0] for one in torch.eye(2).double()])
scale = relative_gain(learner.returns(learner.random(), truth)[0], own.diagonal(), names=truth.names)
exact = maxmin_value(twin, learner.rewards(truth), shift=scale.shift, factor=scale.factor)

voices = camps.voices()
average = Single().optimise(learner, pooled.voices())
fair = MaxMin().optimise(learner, voices)
stepwise = PerStepMin().optimise(learner, voices)

gains = {
    "one for the average": scale(average.returns(learner, truth)[0]),
    "MaxMin lottery": scale(fair.returns(learner, truth)[0]),
    "minimum at each step": scale(stepwise.returns(learner, truth)[0]),
}
for name, gain in gains.items():
    print(f"{name:22} red {gain[0]:6.3f}   blue {gain[1]:6.3f}")
print(f"{'best possible worst':22} {exact.value:10.3f}   (linear programme)")

# %% [markdown]
# The average is not a compromise. It is the majority's policy, and the minority pays the whole bill.
#
# MaxMin's answer is a *lottery*: one policy is drawn for a whole episode. No single best response does this.
# "The minimum of the rewards at each step", which is sometimes called MaxMin, is another problem: nobody is ever
# at both goals at once, so its reward is nearly nothing everywhere, and where its policy goes is an accident.
#
# ## What is possible at all?
#
# Every policy is a point: what it gives red, what it gives blue. Weighing the voices differently walks along the
# edge of what is possible.

# %%
weights = torch.linspace(0, 1, 11 if quick else 41).double()
edge = torch.stack(
    [
        scale(learner.returns(learner.improve(truth, torch.stack([w, 1 - w]) * scale.factor), truth)[0])
        for w in weights
    ]
)
figure, ax = plt.subplots(figsize=(4.6, 4.4))
ax.plot(*edge.T, "o", color="#8a939c", markersize=4, label="best responses to weighted voices")
ax.plot([0, 1], [1, 0], ":", color="#8a939c", linewidth=1)
for (name, gain), colour in zip(gains.items(), ("#5b4b8a", "#0b6e4f", "#d55e00"), strict=True):
    ax.plot(*gain, "*", markersize=15, color=colour, label=name)
ax.set(xlabel="what the red camp gets", ylabel="what the blue camp gets", xlim=(-0.1, 1.1), ylim=(-0.1, 1.1))
ax.legend(frameon=False, fontsize=8, loc="upper right")
plt.show()

# %% [markdown]
# Here nothing lies between the two corners but lotteries: a robot cannot be at two goals. That is a fact about
# this world, not about fairness. What escapes the trade is to serve each person by their own taste.
#
# ## A stranger arrives
#
# Someone we never met answers a few questions, each chosen to tell the most about them, and is served by the
# policy of what we then believe of them.

# %%
talk = interview(camps, answers.new, answers.pool, 5, seed=0)
best = [learner.improve(voices, one) for one in torch.eye(len(voices)).double()]
each = torch.stack([scale(learner.returns(policy, truth)[0]) for policy in best])  # (voices, camps)
for asked in (0, 1, 2, 3, 5):
    draws = camps.adapt(talk.until(asked))
    served = each[draws.weight.argmax(0), answers.new.group]
    error = served.std() / len(served) ** 0.5
    print(
        f"after {asked} answers: {served.mean():.3f} ± {error:.3f} of what their own best policy would bring"
    )
