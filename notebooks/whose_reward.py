# ---
# jupyter:
#   jupytext:
#     formats: py:percent
# ---

# %% [markdown]
# # A head per person on one backbone: whose reward is it?
#
# A reward model has a language model below and one number on top: somebody's taste, but whose? Here sixty people
# compare answers; two of three like them long and formal, the others short and warm. We read every text once, give
# every person a head, and ask three things: what a shared head makes of the smaller camp, how many answers a
# stranger's head needs, and what happens to the smaller camp when the best of six answers is chosen.
#
# Everything is made on the spot: texts whose properties are known, a small model with random weights, a tokenizer
# trained on these texts. With a real model the lines are the same, and `load_backbone(PATH)` comes first.

# %%
import dataclasses
import os

import matplotlib.pyplot as plt
import numpy as np
import torch

import pluralign
from pluralign.data import Items
from pluralign.language.backbone import wrapped
from pluralign.language.candidates import Candidates, per_answer, win_rate
from pluralign.language.joint import encoded
from pluralign.language.once import padded_pairs, pieces_of, work
from pluralign.language.tiny import FACTORS, tiny_model, tiny_tokenizer, tiny_world
from pluralign.metrics.scores import accuracy
from pluralign.policies import Single
from pluralign.rewards import known_voices
from pluralign.rewards.welfare import WorstOff

quick = bool(os.environ.get("PLURALIGN_QUICK"))
CENTRES = ((1.5, 1.5, 0.0, 0.0), (-1.5, 0.0, 1.5, 0.0))

# %% [markdown]
# ## Ask
#
# Sixty people we learn from, thirty strangers for later. Questions have six answers each.

# %%
world = tiny_world(
    prompts=40 if quick else 80,
    answers=6,
    raters=90,
    per_rater=30,
    centres=CENTRES,
    share=(2 / 3, 1 / 3),
    seed=0,
)
order = torch.randperm(90, generator=torch.Generator().manual_seed(0))
known, strangers = order[:60], order[60:]
print(f"{world.prompt[0]!r}\n  {world.answer[0]!r}\n  {world.answer[1]!r}")
print(dict(zip(FACTORS, world.factors[0].round(decimals=2).tolist())))

# %% [markdown]
# ## Read every text once
#
# Six answers share a question, and a text is compared many times by many people. A trainer that reads both texts of
# every comparison, padded to the longest of its batch, computes many times more.

# %%
tokenizer = tiny_tokenizer([*world.prompt, *world.answer])
backbone = wrapped(tiny_model(len(tokenizer)), tokenizer, "tiny", pooling="mean")
pieces = pieces_of(backbone, world.prompt, world.answer)
ours = work(pieces, sharing=backbone.sharing)
theirs = padded_pairs(torch.tensor([len(one) for one in pieces]), world.data.slate, batch=8)
print(f"{ours.texts} texts, {ours.tokens:,} tokens ({ours.computed:,} with padding); pair by pair {theirs:,}, "
      f"{theirs / ours.computed:.0f} times as many")  # fmt: skip
texts = encoded(backbone, world.data, pieces)
data = dataclasses.replace(world.data, options=texts)

# %% [markdown]
# ## One head for all, or one for each
#
# Half of the questions are for learning, half for judging: texts that no head has seen. Chances of being right are
# told by camp, with the standard error over people.

# %%
later = (data.slate[:, 0] // 6) % 2 == 1
learn, judge = data.take(~later).of_raters(known), data.take(later)
plain = pluralign.Linear(identity=False)
models = {
    "one head for all": pluralign.Pooled(plain),
    "a head each, alone": pluralign.PerRater(plain),
    "two camps": pluralign.Camps(groups=2, utility=plain, restarts=2),
    "a head each, of shared parts": pluralign.LowRank(utility=plain),
}
beliefs = {name: model.fit(learn, seed=0) for name, model in models.items()}


def by_camp(share, answers, people):
    """Mean and standard error over people of each camp of the share of right answers."""
    right = accuracy(share, answers.label)
    told = []
    for camp in (0, 1):
        mine = [r for r in range(len(people)) if world.group[people[r]] == camp]
        each = np.array([float(right[answers.rater == r].nanmean()) for r in mine])
        told.append((np.nanmean(each), np.nanstd(each) / len(each) ** 0.5))
    return told


test = judge.of_raters(known)
mine = torch.isin(world.data.rater[later], known)
best = accuracy(world.share[later][mine], world.data.label[later][mine]).nanmean()
scores = {name: by_camp(belief.predict(test), test, known) for name, belief in beliefs.items()}
for name, ((a, ea), (b, eb)) in scores.items():
    print(f"{name:30s} larger camp {a:.3f} ± {ea:.3f}   smaller camp {b:.3f} ± {eb:.3f}")
print(f"who knows all tastes: {float(best):.3f}")

# %%
fig, ax = plt.subplots(figsize=(7, 3))
place = np.arange(len(scores))
for k, (camp, colour) in enumerate((("larger camp", "#4477aa"), ("smaller camp", "#cc6677"))):
    values = np.array([told[k] for told in scores.values()])
    ax.barh(place + 0.2 - 0.4 * k, values[:, 0], 0.38, xerr=1.96 * values[:, 1], label=camp, color=colour)
ax.axvline(0.5, color="grey", lw=0.8)
ax.set(yticks=place, xlim=(0.3, 1), xlabel="right about texts nobody has seen")
ax.set_yticklabels(scores)
ax.invert_yaxis()
ax.legend(frameon=False, ncols=2, loc="lower left", bbox_to_anchor=(0, 1))
fig.tight_layout()

# %% [markdown]
# ## A stranger's head
#
# Thirty people nobody has asked yet. From their first answers the camps' belief reads whose they are.

# %%
camps = beliefs["two camps"]
asked = data.take(~later).of_raters(strangers)
unseen = judge.of_raters(strangers)
rank = torch.zeros(len(asked), dtype=torch.long)
for r in range(len(strangers)):
    rows = (asked.rater == r).nonzero()[:, 0]
    rank[rows] = torch.arange(len(rows))
for answers in (0, 1, 2, 4, 8):
    share = camps.predict(unseen, camps.adapt(asked.take(rank < answers)))
    (a, ea), (b, eb) = by_camp(share, unseen, strangers)
    print(f"{answers} answers: larger camp {a:.3f} ± {ea:.3f}, smaller camp {b:.3f} ± {eb:.3f}")

# %% [markdown]
# ## Choose an answer
#
# For every question the best of six, by the heads that were learnt, judged by the true tastes: how often does a camp
# prefer it to an answer at random? The pooled head serves the larger camp. MaxMin looks for the lottery over ways of
# choosing that is best for whoever fares worst on average; the minimum answer by answer is another rule, more
# timid where a good answer for one camp must be made up for by another; here the two are close.

# %%
options = Candidates(texts, 6)
real = Candidates(Items(world.factors, world.data.options.ids), 6)
people = known_voices(torch.tensor(CENTRES), torch.tensor([2 / 3, 1 / 3]))
voices = camps.voices()
ways = {
    "for the average": Single().optimise(options, voices),
    "for the worst off": pluralign.MaxMin().optimise(options, voices),
}
for name, lottery in ways.items():
    rate = sum(c * win_rate(p, real, people) for p, c in zip(lottery.policies, lottery.chance.tolist()))
    print(f"{name:20s} larger camp wins {float(rate[0]):.2f}, smaller camp {float(rate[1]):.2f}")
timid = win_rate(per_answer(options, voices, WorstOff()), real, people)
print(
    f"{'minimum per answer':20s} larger camp wins {float(timid[0]):.2f}, smaller camp {float(timid[1]):.2f}"
)

# %% [markdown]
# The reward of a shared head belongs to whoever is most. A head per person costs one matrix product on states that
# are there anyway; what it takes is that heads learn from each other, or few answers are not enough.
