"""What every population model promises, over every registered member: a new file in the folder is tested at once."""

import dataclasses

import pytest
import torch
from people import check_predicts, members, model

from pluralign.choice import Luce
from pluralign.population import Belief, PopulationModel
from pluralign.population.registry import named


@members
def test_a_member_is_settings_with_one_verb(name):
    settings = named(name)()
    assert isinstance(settings, PopulationModel)
    assert dataclasses.is_dataclass(settings)
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.rule = Luce(2.0)


@members
def test_fit_gives_a_belief_that_predicts(name, data, fitted):
    belief = fitted(name)
    assert isinstance(belief, Belief)
    assert belief.rater_ids == data.rater_ids
    assert belief.draws.raters == data.raters
    assert belief.draws.z.shape[2] == belief.worth.width
    assert belief.settings == model(name)
    share = check_predicts(belief, data)
    # Better than a coin on what it was shown; two camps of 60 and 40 still share something.
    assert float((share * data.label).sum(1).log().mean()) > -torch.tensor(2.0).log()


@members
def test_predictions_are_the_average_of_the_shares_of_single_draws(name, data, fitted):
    belief = fitted(name)
    shares = belief.shares(data, belief.draws)
    expected = (shares * belief.draws.weight[:, data.rater, None]).sum(0)
    torch.testing.assert_close(belief.predict(data), expected)


@members
def test_utility_orders_options_as_predictions_do(name, data, fitted):
    belief = fitted(name)
    worth = belief.utility(data.options, belief.draws)
    assert worth.shape == (data.raters, len(data.options))
    if len(belief.draws.z) == 1:  # with more draws the average of probabilities may turn a close call
        gap = worth[data.rater, data.slate[:, 0]] - worth[data.rater, data.slate[:, 1]]
        torch.testing.assert_close(belief.predict(data)[:, 0], torch.sigmoid(gap))
