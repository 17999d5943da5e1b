# ---
# jupyter:
#   jupytext:
#     formats: py:percent
# ---

# %% [markdown]
# # Learning without a reward: can answers train a policy?
#
# The usual way from answers to a policy goes over a reward. Contrastive preference learning takes the short way: a policy's own
# log-probabilities of what was done stand in for the worth of a segment. If people answer by regret, that is no trick: the
# optimal advantage *is* alpha times the log-probability of the soft best policy. And when people want different things?

# %%
import dataclasses
import os

import matplotlib.pyplot as plt
import numpy as np
import torch

import pluralign
from pluralign.policies.direct import Direct, Hindsight, Implied
from pluralign.policies.direct.signs import overoptimisation
from pluralign.streams import Streams

quick = bool(os.environ.get("PLURALIGN_QUICK"))
PEOPLE, EACH, WALKS, UPDATES = (20, 50, 300, 400) if quick else (40, 50, 600, 1200)
STRIDE = 0.2
streams = Streams(0)

# %% [markdown]
# ## A square, and two wishes
#
# A point walks in a square; an action is a step. Half of the people want it to go east, half west. What was recorded
# are random walks; nobody shows how it is done.

# %%
draw = streams("walks")
place = torch.rand(WALKS, 2, generator=draw) * 2 - 1
step = torch.randn(WALKS, 1, 2, generator=draw) + 0.6 * torch.randn(WALKS, 8, 2, generator=draw)
step = step.clamp(-1, 1)
path = torch.cat([place[:, None], place[:, None] + STRIDE * step.cumsum(1)], 1)
ends = torch.tensor([[-3.0, 0.0], [3.0, 0.0]])
far = torch.cdist(path, ends.expand(WALKS, 2, 2))
walks = pluralign.Segments(
    far[:, :-1] - far[:, 1:],  # what each step brings nearer to either end
    observation=path[:, :-1],
    action=step,
    reached=path[:, -1],
    names=("west", "east"),
)

wish = torch.arange(PEOPLE) % 2
rater = torch.arange(PEOPLE).repeat_interleave(EACH)
slate = torch.randint(WALKS, (len(rater), 2), generator=draw)
slate[:, 1] = torch.where(slate[:, 0] == slate[:, 1], (slate[:, 1] + 1) % WALKS, slate[:, 1])
worth = walks.factors.sum(1)
gap = worth[slate[:, 0], wish[rater]] - worth[slate[:, 1], wish[rater]]
first = (torch.rand(len(rater), generator=draw) < torch.sigmoid(4 * gap)).double()
data = pluralign.Comparisons(walks, slate, rater, torch.stack([first, 1 - first], 1))

# %% [markdown]
# ## One policy for all, or one that is told whom it serves
#
# `Direct` imitates what was shown, then contrasts. With a belief, an answer counts for a camp as far as its rater is
# likely to belong there.

# %%
method = Direct("cpl", hidden=(32,), imitation=150, updates=UPDATES, rate=4e-3)
pooled = method.fit(data)
belief = pluralign.Camps(groups=2).fit(data)
camps = method.fit(data, belief)


def progress(policy, goal: int) -> float:
    """How fast it nears the goal, as a part of the fastest."""
    here = np.random.default_rng(0).uniform(-1, 1, (500, 2)).astype(np.float32)
    way = ends[goal].numpy() - here
    fastest = 1 / np.abs(way / np.linalg.norm(way, axis=1)[:, None]).max(1)
    there = here + STRIDE * np.clip(policy.act(here), -1, 1)
    return float(
        (
            (np.linalg.norm(way, axis=1) - np.linalg.norm(ends[goal].numpy() - there, axis=1))
            / STRIDE
            / fastest
        ).mean()
    )


one = {r: camps.of(camps.rater_ids[r]) for r in (0, 1)}
for name, policies in (("one for all", (pooled.policy, pooled.policy)), ("told whom", (one[0], one[1]))):
    print(f"{name:12} west {progress(policies[0], 0):+.2f}, east {progress(policies[1], 1):+.2f}")

# %%
fig, axes = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained", sharey=True)
grid = (
    np.stack(np.meshgrid(np.linspace(-1, 1, 9), np.linspace(-1, 1, 9)), -1).reshape(-1, 2).astype(np.float32)
)
for ax, (title, policy) in zip(
    axes, {"one for all": pooled.policy, "who wants west": one[0], "who wants east": one[1]}.items()
):
    act = policy.act(grid)
    ax.quiver(grid[:, 0], grid[:, 1], act[:, 0], act[:, 1], color="#0072b2")
    ax.set(title=title, aspect="equal", xticks=(), yticks=())
plt.show()

# %% [markdown]
# ## Two other ways
#
# Inverse preference learning trains a critic, and reads what a step is worth off it: r = Q(s, a) - discount V(s'). OPPO imitates
# everything, told how each walk looks in hindsight, and moves one "best look" for each camp. Neither says how likely an action is.

# %%
others = {
    "ipl": Implied(hidden=(32,), discount=0.5, sharpness=4.0, updates=UPDATES, rate=3e-3),
    "oppo": Hindsight(hidden=(32,), updates=UPDATES, rate=5e-3),
}
for name, other in others.items():
    served = other.fit(data, belief)
    west, east = (progress(served.of(served.rater_ids[r]), r) for r in (0, 1))
    print(f"{name:12} west {west:+.2f}, east {east:+.2f}")

# %% [markdown]
# ## What goes on inside
#
# Contrast needs only the *gap* to grow. Often both sides lose probability: what was refused falls, and what was preferred may
# fall with it. The bias of CPL, and an imitation loss that goes on (`keep`), hold it up.

# %%
just_east = data.take(wish[rater] == 1)
for bias, keep in ((1.0, 0.0), (0.5, 0.0), (1.0, 1.0)):
    found = dataclasses.replace(method, bias=bias, keep=keep, updates=UPDATES // 2).fit(just_east).diagnostics
    print(
        f"bias {bias}, keep {keep}: preferred {found['preferred_moved']:+.1f}, refused {found['refused_moved']:+.1f} nats; "
        f"ranks as people do {found['ranking_accuracy']:.0%}"
    )

# %% [markdown]
# ## Too much of a good thing
#
# On a bandit all is exact. A reward fitted to answers is a proxy; the further the policy leaves its reference for it, the
# more of the proxy's errors it collects. Gold rises, then falls.

# %%
draw = streams("bandit")
gold = torch.randn(1, 200, generator=draw, dtype=torch.float64)
proxy = gold + 0.8 * torch.randn(1, 200, generator=draw, dtype=torch.float64).pow(
    3
)  # errors with heavy tails
reference = torch.full((1, 200), 1 / 200, dtype=torch.float64)
scales = torch.logspace(1.5, -1.5, 40, dtype=torch.float64)
curve = overoptimisation(torch.softmax(proxy / scales[:, None, None], -1), reference, gold)
fig, ax = plt.subplots(figsize=(5, 3), layout="constrained")
ax.plot(curve[:, 0].sqrt(), curve[:, 1], color="#d55e00")
ax.set(xlabel="square root of KL from the reference (nats)", ylabel="gold reward")
plt.show()

# %% [markdown]
# Answers alone train a policy, and told whom it serves it serves both; one policy for all serves neither. The same holds for a maze and
# an arm in MuJoCo, if answers come from regret and segments show the places that matter: `docs/howto/without_a_reward.md` has the numbers,
# and says when it stands still.

# %%
mine = [progress(one[0], 0), progress(one[1], 1)]
shared = [progress(pooled.policy, g) for g in (0, 1)]
assert min(mine) > 0.4
assert min(shared) < 0.2
assert float(curve[-1, 1]) < float(curve[:, 1].max())
