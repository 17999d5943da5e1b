"""Published methods by name: every recipe fits, says where it comes from, and finds what was planted for it."""

import inspect
import re

import pytest
import torch

from pluralign import diagnose, recipes
from pluralign.data import Comparisons, Items
from pluralign.metrics import adjusted_rand
from pluralign.population import Belief, PopulationModel
from pluralign.population.camps import Camps
from pluralign.population.held_out import log_loss
from pluralign.population.pooled import Pooled
from pluralign.raters import CampPeople, GaussianPeople, questions

RECIPES = {
    name: made
    for name, made in inspect.getmembers(recipes, inspect.isfunction)
    if made.__module__ == recipes.__name__ and not name.startswith("_")
}
HEADS = torch.tensor([[2.0, -1.0], [-1.0, 2.0]], dtype=torch.float64)


def asked(people, raters, per_rater, seed=0, options=30):
    crowd = people.draw(raters, seed)
    items = Items(torch.randn(options, 2, generator=torch.Generator().manual_seed(seed)).double())
    return crowd, crowd.answer(items, *questions(options, per_rater, raters, seed), seed)


def by_context(raters=40, per_rater=40, seed=0):
    """Everybody judges by the first head below nought and by the second above."""
    draw = torch.Generator().manual_seed(seed)
    features = torch.randn(40, 2, generator=draw).double()
    rater = torch.arange(raters).repeat_interleave(per_rater)
    first = torch.randint(40, (len(rater),), generator=draw)
    second = (first + torch.randint(1, 40, (len(rater),), generator=draw)) % 40
    context = torch.rand(len(rater), generator=draw).double() * 2 - 1
    gap = ((features[first] - features[second]) * HEADS[(context > 0).long()]).sum(1)
    said = (torch.rand(len(rater), generator=draw) < torch.sigmoid(gap)).float()
    return Comparisons.pairs(Items(features), first, second, rater, said, context=context)


def gain(belief, plain, held):
    """Nats per answer by which `belief` beats `plain`, and its standard error over raters."""
    gap = log_loss(plain, held) - log_loss(belief, held)
    gap = gap[torch.isfinite(gap)]
    return float(gap.mean()), float(gap.std() / len(gap) ** 0.5)


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_recipe_fits_and_names_its_paper(name):
    model = RECIPES[name]()
    assert isinstance(model, PopulationModel)
    data = by_context(raters=8, per_rater=10)
    belief = model.fit(data, seed=0)
    assert isinstance(belief, Belief)
    assert bool(torch.isfinite(belief.predict(data)).all())
    assert len(belief.voices()) >= 1
    assert str(diagnose(belief, data, control=False))
    told = inspect.getdoc(RECIPES[name]) or ""
    source = told[told.index("Source:") :]
    assert re.search(r"arXiv \d{4}\.\d{4,5}", source), source
    assert re.search(r"\b(20\d\d)\b", source), "name the venue and its year"
    assert "differs" in told


def test_micro_finds_heads_that_contexts_switch_between():
    kept, held = by_context().split(by="answer", share=0.8, seed=0)
    belief = recipes.micro(heads=2).fit(kept, seed=0)
    value, error = gain(belief, Camps(groups=2, ridge=1.0).fit(kept, seed=0), held)
    assert value > 3 * error
    far = torch.nn.functional.cosine_similarity(belief.worth.heads[:, None], HEADS[None], dim=2)
    assert sorted(far.argmax(1).tolist()) == [0, 1]
    assert float(far.amax(1).min()) > 0.95


def test_mrm_adapts_a_common_start_to_each_person():
    people = GaussianPeople((1.0, 0.5), ((1.5, 0.5), (0.5, 1.0)))
    crowd, data = asked(people, 80, 40)
    kept, held = data.split(by="answer", share=0.8, seed=0)
    belief = recipes.mrm().fit(kept, seed=0)
    value, error = gain(belief, Pooled(ridge=1.0).fit(kept, seed=0), held)
    assert value > 3 * error
    assert len(belief.draws.z) == 1  # one step from the start is one taste, not a cloud
    true, found = crowd.utility(data.options), belief.utility(data.options, belief.draws)
    centred = [x - x.mean(1, keepdim=True) for x in (true, found)]
    # 32 answers tell two weights to about a quarter of their spread, so worths correlate by nearly one.
    assert float(torch.nn.functional.cosine_similarity(*centred, dim=1).mean()) > 0.9
    same = GaussianPeople((1.0, 0.5), ((0.0, 0.0), (0.0, 0.0)))
    kept, held = asked(same, 80, 40)[1].split(by="answer", share=0.8, seed=0)
    value, error = gain(recipes.mrm().fit(kept, seed=0), Pooled(ridge=1.0).fit(kept, seed=0), held)
    assert value < 2 * error  # where nobody differs, nothing is gained by adapting


def test_maxmin_mixture_puts_every_rater_into_one_camp():
    people = CampPeople(((2.0, -1.0), (-1.0, 2.0)), (0.7, 0.3))
    crowd, data = asked(people, 60, 40)
    belief = recipes.maxmin_mixture().fit(data, seed=0)
    assert adjusted_rand(belief.draws.weight.argmax(0), crowd.group) > 0.9
    # Hard: shares are counts of raters (and a thousandth of a pseudo-rater between the camps).
    assert belief.prior.share.tolist() == pytest.approx([0.7, 0.3], abs=1 / 60)
    counts = belief.prior.share * (60 + 1e-3) - 5e-4
    torch.testing.assert_close(counts, counts.round(), atol=1e-6, rtol=0)
