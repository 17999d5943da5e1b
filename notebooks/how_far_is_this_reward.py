# ---
# jupyter:
#   jupytext:
#     formats: py:percent
# ---

# %% [markdown]
# # How far is this reward from that one?
#
# A reward is learned from people's answers. Is it the right one? Its numbers may be quite different from the true ones and
# mean the same, or be near them and mean something else: what counts is how a reward orders *policies*. Here is a
# distance that looks at nothing else, what it makes of rewards that look different, and what a distance costs.

# %%
import os

import matplotlib.pyplot as plt
import numpy as np
import pluralign_envs
import torch

import pluralign
from pluralign.lab.sampling import Cover
from pluralign.metrics.distances import reward_distance
from pluralign.raters import Factors, SimulatedRaters, questions
from pluralign.streams import Streams
from pluralign.tabular import Table, random_world, worst_of_best, worst_regret

quick = bool(os.environ.get("PLURALIGN_QUICK"))
RED, BLUE, GREEN, GREY = "#c8453b", "#2c6fbb", "#0b6e4f", "#8a939c"
streams = Streams(0)
normal = lambda name, *size: torch.randn(*size, generator=streams(name), dtype=torch.float64)

# %% [markdown]
# ## Three changes that change nothing
#
# A positive factor; *shaping*, which pays for coming nearer and takes it back for going away; and *redistribution*: when the next
# state is partly luck, pay may be moved from one outcome to another, as long as the mean stays. We apply all three to a reward
# in a small world of six states.

# %%
world = random_world(6, 3, sparse=False, discount=0.9, seed=1)
reward, phi, luck = normal("reward", 6, 3, 6), 2 * normal("potential", 6), 2 * normal("luck", 6, 3, 6)
luck = luck - (world.transition * luck).sum(-1, keepdim=True)  # its mean over next states is zero
shaping = world.discount * phi - phi[:, None, None]
copies = {"3 x": 3 * reward, "shaped": reward + shaping, "redistributed": reward + luck, "all three": 3 * reward + shaping + luck, "another": normal("another", 6, 3, 6)}  # fmt: skip
kinds = {"as they are": "none", "EPIC": "epic", "DARD": "dard", "VALPotential": "val-potential", "STARC (VAL)": "val", "STARC (minimal)": "minimal"}  # fmt: skip
table = np.array([[float(reward_distance(reward, c, world, canonical=k)) for c in copies.values()] for k in kinds.values()])  # fmt: skip

figure, ax = plt.subplots(figsize=(6.4, 3.6))
ax.imshow(table, vmin=0, vmax=2, cmap="cividis_r")
ax.set_xticks(range(len(copies)), copies)
ax.set_yticks(range(len(kinds)), kinds)
for (row, column), value in np.ndenumerate(table):
    ax.text(column, row, f"{value:.2f}", ha="center", va="center", color="white" if value > 1 else "black")
ax.set_title("Distance of a reward to its copies, and to another reward")
plt.show()
assert table[-2:, :4].max() < 1e-6

# %% [markdown]
# Only the last two rows are blind to all three changes and to nothing else. EPIC and DARD see a difference between rewards
# that order every two policies alike, and so does VALPotential, which is sometimes taken for a STARC distance.
#
# ## What does a distance cost?
#
# The maze has a finite twin, in which everything can be worked out. Take the reward of somebody who wants the red goal, turn it
# step by step into other rewards, and ask two things: how far is it now, and what part of all that can be lost does somebody
# lose at worst who follows the other reward?

# %%
twin = Table.of(pluralign_envs.twin("pluralign/PointMaze-v0"))
true = twin.factors @ torch.tensor([1.0, 0.0, -0.02], dtype=torch.float64)
far, change, best = [], [], []
for n in range(6 if quick else 15):
    away = twin.factors @ normal(("away", n), 3)
    for part in (0.1, 0.3, 0.6, 0.9):
        other = (1 - part) * true / true.std() + part * away / away.std()
        far.append(float(pluralign.starc(true, other, twin)))
        change.append(float(worst_regret(twin, true, other)))
        best.append(float(worst_of_best(twin, true, other)))

figure, ax = plt.subplots(figsize=(5.6, 4))
ax.plot(far, change, "o", color=RED, markersize=4, label="by one change of policy that it approves")
ax.plot(far, best, "o", color=BLUE, markersize=4, label="by optimising it")
ax.set(
    xlabel="STARC distance",
    ylabel="lost at worst, of what can be lost",
    title="What following another reward costs",
)
ax.legend(frameon=False, fontsize=8)
plt.show()
assert max(b - c for b, c in zip(best, change)) < 1e-6

# %% [markdown]
# The distance bounds what can be lost from both sides: no large loss without distance, no distance without a possible loss. Optimising to
# the end often costs less than that, because the best policies of two rewards may agree where the rewards do not.
#
# ## Is the learned reward the right one?
#
# One person answers questions about short pieces of trajectory, and a reward is fitted to 4, 8, 16, ... answers. How far is it
# from the truth, on the simulator? Steps are sampled there, and both rewards are paid on the same steps.

# %%
steps = Cover(steps=5_000 if quick else 20_000, waves=150, learned=0).sample("pluralign/PointMaze-v0", seed=0)
taste = torch.tensor([[1.0, 0.4, -0.5]], dtype=torch.float64)
rows = steps.factors[:, 0]
near = torch.cat([rows[:, goal].topk(150).indices for goal in (0, 1)])  # or few pieces would show a goal
shown = pluralign.Items(torch.cat([rows[near], rows[:100]]), names=steps.names)
person = SimulatedRaters(Factors(), 3 * taste)
counts, repeats = (4, 16, 64, 256, 1024), 3 if quick else 8
found = np.zeros((len(counts), repeats))
for k, count in enumerate(counts):
    for n in range(repeats):
        slate, rater = questions(len(shown), count, 1, n)
        belief = pluralign.Pooled(ridge=0.1).fit(person.answer(shown, slate, rater, n), seed=0)
        estimate = pluralign.starc(taste[0], belief.voices(), steps)
        found[k, n] = estimate.value
print("the last of them:", estimate)

figure, ax = plt.subplots(figsize=(5.6, 3.4))
ax.plot(counts, found, ".", color=GREY)
ax.plot(counts, found.mean(1), "o-", color=GREEN)
ax.axhline(2**0.5, color=GREY, linewidth=0.8, linestyle="--")
ax.text(counts[-1], 2**0.5 + 0.03, "unrelated", color=GREY, fontsize=8, ha="right")
ax.set(xscale="log", xlabel="answers", ylabel="STARC distance to the truth", ylim=(0, 2))
ax.set_title("A learned reward comes nearer with answers")
plt.show()
for count, value in zip(counts, found.mean(1)):
    print(f"{count:4d} answers: {value:.2f} on average")
assert found[-1].mean() < found[0].mean() / 2

# %% [markdown]
# Grey: sets of answers by the same person. Each distance has a standard error too, that of the sampled steps. On the command line the
# same is `pluralign starc truth.json runs/fit-pooled-answers --env pluralign/PointMaze-v0`; with more than two rewards it draws a heat map of all of them.
