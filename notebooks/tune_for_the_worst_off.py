# ---
# jupyter:
#   jupytext:
#     formats: py:percent
# ---

# %% [markdown]
# # Tune for the worst-off: what does fairness cost a language model?
#
# Seven of ten people like answers long and formal, three like them short and warm. About length they want the opposite,
# about the rest they do not mind each other. A language model that is tuned on one reward for all finds the easy way: it
# becomes long. Here it is tuned once for the pooled reward and once for the worst-off of two learnt camps, and we look
# at who wins, what the average loses, and how far the model has moved.
#
# Everything is made on the spot: texts whose properties are known, a small model that is first taught to write them. With
# a model of your own `load_writer(PATH)` comes first, or `pluralign optimise grpo data --backbone PATH`.

# %%
import os

import matplotlib.pyplot as plt
import torch

import pluralign
from pluralign.language.belonging import heard
from pluralign.language.imitation import tiny_writer
from pluralign.language.joint import Joint
from pluralign.language.online import Online
from pluralign.language.tiny import FACTORS, measured, tiny_world
from pluralign.language.yardstick import served, yardstick

quick = bool(os.environ.get("PLURALIGN_QUICK"))
PROMPTS, APART, N, TAUGHT, STEPS = (80, 20, 8, 80, 12) if quick else (240, 40, 16, 200, 40)
CENTRES = ((1.5, 1.5, 0.0, 0.0), (-1.5, 0.0, 1.5, 0.0))
SHARE = (0.7, 0.3)

# %% [markdown]
# ## People, texts, and a writer
#
# The writer is the *reference*: what it becomes is compared with what it was.

# %%
world = tiny_world(prompts=PROMPTS, answers=8, raters=60, per_rater=60, centres=CENTRES, share=SHARE, seed=0)
reference = tiny_writer(world.prompt, world.answer, width=32, layers=1, updates=TAUGHT)
learn, apart = world.prompts[: PROMPTS - APART], world.prompts[PROMPTS - APART :]
for answer in reference.write(apart[:1], 3, seed=0).answers:
    print(repr(answer))

# %% [markdown]
# ## Two beliefs
#
# One taste for all, and two camps. Both read the hidden states of the reference; answers about the prompts that are kept
# apart are not used.

# %%
train = world.data.take(world.data.slate[:, 0] // 8 < PROMPTS - APART)
models = {"pooled": pluralign.Pooled(), "worst-off": pluralign.Camps(groups=2, restarts=2)}
beliefs = {
    name: Joint("none").fit(model, reference.backbone(), train, world.prompt, world.answer)
    for name, model in models.items()
}
print("learnt camps:", [round(x, 2) for x in beliefs["worst-off"].belief.voices().weight.tolist()])

# %% [markdown]
# ## Tune
#
# In each step the writer answers some prompts; what the camps think of an answer, by their weights, is its reward, and
# it is compared with the other answers to the same prompt. For the worst-off the weights are multiplicative: who has
# less gets more of them. With one pooled voice there is nothing to weigh.

# %%
taste = torch.tensor(CENTRES, dtype=torch.float64)
truth = lambda prompts, answers: measured(answers, world.answer) @ taste.T
judge = yardstick(reference, apart, truth, N, seed=1)
tuned, found = {}, {}
for name, belief in beliefs.items():
    voices = belief.belief.voices()
    reward = heard(belief, voices)
    measure = yardstick(reference, learn, reward, N, seed=2)
    settings = Online("maxmin", tune="full", rate=2e-3, updates=STEPS, scale=0.2)
    tuned[name] = settings.fit(reference, measure, reward, voices.weight)
    found[name] = served(tuned[name].writer, reference, judge, truth, N)
    wins = found[name].wins
    mean = sum(s * w.value for s, w in zip(SHARE, wins))
    print(f"{name:10s} larger camp {wins[0]}, smaller camp {wins[1]}, people's mean {mean:.3f}, "
          f"{found[name].kl.value:.1f} nats, {found[name].length:.0f} words")  # fmt: skip

# %%
fig, axes = plt.subplots(1, 3, figsize=(10, 3))
for k, (name, served_by) in enumerate(found.items()):
    values = [w.value for w in served_by.wins]
    errors = [1.96 * w.standard_error for w in served_by.wins]
    axes[0].bar(
        [0.2 * (2 * k - 1) + g for g in (0, 1)],
        values,
        0.38,
        yerr=errors,
        label=name,
        color=("#bbbbbb", "#4477aa")[k],
    )
axes[0].axhline(0.5, color="black", lw=0.8)
axes[0].set(xticks=(0, 1), ylim=(0, 1), ylabel="prefers it to the reference")
axes[0].set_xticklabels(("larger camp", "smaller camp"))
axes[0].legend(frameon=False)
curve = tuned["worst-off"].curve
for g, colour in enumerate(("#4477aa", "#cc6677")):
    label = ("larger camp", "smaller camp")[g]
    axes[1].plot([row["returns"][g] for row in curve], color=colour, label=label)
    axes[2].plot([row["weight"][g] for row in curve], color=colour)
axes[1].set(xlabel="step", ylabel="return, in deviations")
axes[1].legend(frameon=False)
axes[2].set(xlabel="step", ylabel="weight", ylim=(0, 1))
for ax in axes[1:]:
    ax.locator_params(axis="x", integer=True)
fig.tight_layout()

# %% [markdown]
# ## What changed in the texts
#
# Standard deviations from what the reference writes. The pooled reward buys length, which the larger camp likes and the
# smaller one pays for; the weights of the worst-off find what both can have: formal *and* warm.

# %%
for name, one in tuned.items():
    shift = measured(one.writer.write(apart, N, seed=3).answers, world.answer).mean(0)
    print(f"{name:10s}", {factor: round(float(x), 2) for factor, x in zip(FACTORS, shift)})

# %% [markdown]
# Fairness is no gift of the method: where two camps want the opposite and nothing else, what one wins the other
# loses. It is cheap where people also want different things, and a single reward cannot see that.
