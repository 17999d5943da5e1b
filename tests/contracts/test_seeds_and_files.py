"""Equal seeds and saved beliefs, over every registered population."""

import pytest
import torch
from jaxtyping import TypeCheckError
from people import members, model, quick, strangers

from pluralign.population import load
from pluralign.population.registry import named
from pluralign.population.saving import same


@members
def test_equal_settings_data_and_seed_mean_equal_results(name, data, fitted):
    again = model(name).fit(data, seed=0)
    assert same(again, fitted(name))
    generator = torch.Generator().manual_seed(5)
    first = named(name)(**quick(name)).fit(data, seed=generator)
    second = named(name)(**quick(name)).fit(data, seed=torch.Generator().manual_seed(5))
    assert same(first, second)


@members
def test_a_seed_is_an_int_or_a_generator(name, data):
    with pytest.raises((TypeError, TypeCheckError), match="torch"):
        model(name).fit(data, seed="x")


@members
def test_save_and_load_predict_the_same_numbers(name, data, fitted, tmp_path):
    belief = fitted(name)
    belief.save(tmp_path / "belief")
    again = load(tmp_path / "belief")
    assert same(again, belief)
    assert again.settings == belief.settings
    assert torch.equal(again.predict(data), belief.predict(data))
    new = strangers(data)
    assert torch.equal(again.adapt(new).z, belief.adapt(new).z)
    assert torch.equal(again.sample(5, seed=1), belief.sample(5, seed=1))
    with pytest.raises(FileExistsError, match="exists already"):
        belief.save(tmp_path / "belief")
