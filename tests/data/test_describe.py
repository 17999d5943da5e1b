"""Counts that can be done by hand."""

import torch

from pluralign.data import Comparisons, Items, Texts, describe


def test_one_contradiction_of_two_is_chance_and_ten_of_twenty_are_not():
    def both_ways(questions, contradicted):
        first = torch.arange(questions).repeat(2)
        share = torch.ones(2 * questions)
        share[questions : questions + contradicted] = 0
        store = Items(torch.arange(questions + 1.0)[:, None])
        data = Comparisons.pairs(store, first, first + 1, torch.zeros(2 * questions).long(), share)
        return [note for note in describe(data).warnings if "contradict" in note]

    assert not both_ways(2, 1)
    assert not both_ways(20, 9)
    assert "on 11 of 20" in both_ways(20, 11)[0]


def test_counts_by_hand():
    store = Items(torch.tensor([[1.0, 0], [1, 1], [1, 2], [1, 3], [1, 4]]), None, ("one", "x"))
    slate = [[0, 1], [1, 0], [0, 1], [2, 3], [2, 3], [0, 1]]
    rater = torch.tensor([0, 0, 1, 1, 2, 2])
    share = torch.tensor([1, 1, 1, 0.5, 0.7, 0])  # rater 0 says 0 then 1; 1 says 0; 2 says 1
    first, second = torch.tensor(slate).T
    found = describe(Comparisons.pairs(store, first, second, rater, share, rater_ids=("a", "b", "c", "d")))
    assert (found.answers, found.raters, found.silent) == (6, 3, 1)
    assert (found.options, found.unseen, found.parts) == (4, 1, 2)
    assert (found.ties, found.graded) == (1, 1)
    assert (found.repeats, found.contradictions) == (1, 1)
    assert found.answers_per_rater == (2, 2, 2, 2, 2)
    assert found.slate_sizes == {2: 6}
    # On options 0 and 1 the raters chose 0 (first answer), 0 and 1: one of three pairs agrees.
    assert found.agreement == 1 / 3
    assert found.shared == 1
    assert found.constant == ("one",)
    assert any("constant features say nothing: 'one'" in note for note in found.warnings)
    assert "agreement of raters  33.3% on 1 shared questions" in str(found)
    assert "<table>" in found._repr_html_()
    assert "&#x27;one&#x27;" in found._repr_html_()


def test_short_slates_and_warnings():
    store = Items(torch.zeros(6, 0))
    slate = torch.tensor([[0, 1, 2], [3, 4, -1]])
    found = describe(Comparisons(store, slate, torch.zeros(2).long(), torch.eye(3)[:2]))
    assert found.slate_sizes == {2: 1, 3: 1}
    assert found.parts == 2
    assert found.agreement is None
    assert found.warnings[0] == "one rater only: differences between raters cannot be learned."
    assert any("falls into 2 parts" in note for note in found.warnings)


def test_one_answer_and_texts_without_embedding():
    data = Comparisons.pairs(Texts(("a", "bb")), *(torch.tensor([n]) for n in (0, 1, 0)), torch.tensor([0.5]))
    notes = " ".join(describe(data).warnings)
    for part in ("one rater only", "one answer only", "no embedding", "every answer is a tie"):
        assert part in notes


def test_a_place_that_gives_the_answer_away():
    first = torch.arange(60) % 5
    data = Comparisons.pairs(
        Items(torch.randn(6, 2, generator=torch.Generator().manual_seed(0))),
        first,
        first + 1,
        first % 3,
        torch.ones(60),
    )
    wins = lambda found: any("first option always wins" in note for note in describe(found).warnings)
    assert wins(data)
    assert not wins(data.with_labels(torch.full((60, 2), 0.5)))  # ties: nobody wins


def test_a_file_put_together_twice_is_asked_about():
    first = torch.arange(15)
    store = Items(torch.arange(16.0)[:, None])
    once = Comparisons.pairs(store, first, first + 1, torch.zeros(15).long(), (first % 2).float())
    twice = once.take(torch.arange(15).repeat(2))
    assert not [note for note in describe(once).warnings if "twice" in note]
    assert not [note for note in describe(once.take(torch.arange(20) % 15)).warnings if "twice" in note]
    thrice = once.take(torch.arange(15).repeat(3))
    assert "30 of 45 answers" in next(note for note in describe(thrice).warnings if "twice" in note)
    assert not [note for note in describe(twice).warnings if "twice" in note]  # fifteen may be chance
