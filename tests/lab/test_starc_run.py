"""`pluralign starc`: steps that cover a world, rewards in files, and what is printed and kept."""

import json

import numpy as np
import pytest
import torch

import pluralign
from pluralign.cli import main
from pluralign.data.options import Segments
from pluralign.lab.reward_files import Reward, read_rewards
from pluralign.lab.sampling import Cover
from pluralign.lab.starc import compare, find_world, read_compared
from pluralign.metrics.distances import starc
from pluralign.metrics.sampled import Transitions
from pluralign.tabular import Table

MAZE, ARM = "pluralign/PointMaze-v0", "pluralign/Reacher-v0"
FACTORS = ("red", "blue", "effort")


@pytest.fixture(scope="module")
def steps():
    return Cover(steps=8000, walkers=100, waves=200, learned=0).sample(MAZE)


def test_steps_are_what_the_world_does(steps):
    """Put a copy into each sampled state, take the action: the same next state and factors."""
    import gymnasium
    import pluralign_envs

    del pluralign_envs
    pick = slice(0, 400, 10)
    env = gymnasium.make_vec(MAZE, num_envs=40, vectorization_mode="vector_entry_point")
    state = steps.state[pick].numpy()
    env.reset(seed=0, options={"qpos": state[:, :2], "qvel": state[:, 2:4]})
    seen, _, _, _, info = env.step(steps.action[pick].numpy())
    env.close()
    np.testing.assert_allclose(seen, steps.after[pick, 0, :4], atol=1e-5)
    np.testing.assert_allclose(info["factors"], steps.factors[pick, 0], atol=1e-9)


def test_actions_are_uniform_and_know_nothing_of_the_state(steps):
    error = (1 / 3 / len(steps)) ** 0.5
    assert bool((steps.action.mean(0).abs() < 4 * error).all())
    assert steps.action.var(0) == pytest.approx([1 / 3] * 2, abs=4 * (4 / 45 / len(steps)) ** 0.5)
    both = torch.corrcoef(torch.cat([steps.action, steps.state[:, :4]], 1).T)[:2, 2:]
    # States of one walk hang together, actions do not, so their product is white.
    assert bool((both.abs() < 4 / len(steps) ** 0.5).all())
    assert len(torch.unique(steps.rollout)) == 100


def test_equal_seeds_give_equal_steps():
    one, same, other = (Cover(steps=200, walkers=10, waves=0).sample(ARM, seed=s) for s in (1, 1, 2))
    assert torch.equal(one.after, same.after)
    assert not torch.equal(one.after, other.after)


def test_noise_makes_next_states_differ():
    steps = Cover(steps=400, walkers=20, waves=0, branches=3, noise=0.2).sample(MAZE)
    assert steps.after.shape[1] == steps.factors.shape[1] == 3
    spread = (steps.after[:, 0] - steps.after[:, 1]).norm(dim=1)
    assert float((spread > 1e-3).double().mean()) > 0.9


def test_policies_take_part(steps):
    """A quarter of the walkers is pushed to the right, and it shows where they are."""

    class Right:
        def act(self, observation, *, generator=None):
            return np.tile([1.0, 0.0], (len(observation), 1))

        def save(self, folder):
            raise AssertionError

    pushed = Cover(steps=4000, walkers=100, waves=0).sample(MAZE, policies=[Right()])
    assert float(pushed.state[:, 0].mean()) > float(steps.state[:, 0].mean()) + 0.1


@pytest.mark.parametrize("world", [MAZE, ARM])
def test_a_shaped_copy_is_near_and_another_reward_far(world):
    """The potential is a distance to a point, of which no sum of features is exactly one."""
    steps = Cover(steps=8000, walkers=100, waves=150, learned=800).sample(world)
    one = torch.eye(len(steps.names)).double()
    paid = (steps.factors @ one[0])[:, 0]
    far = lambda x: (x[:, :2] - torch.tensor([0.4, 0.3]).double()).norm(dim=1)
    pay = steps.discount * far(steps.after[:, 0]) - far(steps.state)
    # What cannot happen may pay anything: a step whose next state is not the one that the world leads to.
    step = {tuple(s.tolist()): z for s, z in zip(steps.state, steps.after[:, 0])}
    impossible = torch.stack([step[tuple(s.tolist())] for s in steps.state])
    moved = 1e3 * (steps.after[:, 0] - impossible).square().sum(1)
    copy = 3 * (paid + pay * paid.std() / pay.std()) + moved
    assert starc(paid, copy, steps).value < 0.2
    assert starc(paid, one[1], steps).value > 0.5


def test_losses_from_steps_are_those_of_the_angle(steps):
    rewards = [
        Reward("a", _voices(1, 0, -0.02)),
        Reward("b", _voices(1, 0.4, 0)),
        Reward("c", _voices(0, 0, 0)),
    ]
    found = compare(rewards, steps)
    angle = 2 * np.arcsin(float(found.value[0, 1]) / 2)
    assert float(found.approved[0, 1]) == pytest.approx(np.sin(angle))
    assert 0 < found.floor < 0.2
    assert "loses at most about" in found.words(0, 1)
    assert found.words(2, 0) == "c ranks no policies, so nothing can be lost of it by optimising a."
    assert float(found.approved[0, 2]) == 1
    near = compare([rewards[0], Reward("copy", _voices(2, 0, -0.04001))], steps)
    assert "are not told apart" in near.words(0, 1)


def _voices(*weights):
    from pluralign.rewards import known_voices

    return known_voices([[float(w) for w in weights]])


@pytest.fixture
def files(tmp_path):
    put = lambda name, what: (tmp_path / name).write_text(what if isinstance(what, str) else json.dumps(what))
    put("red.json", {"red": 1, "effort": -0.02})
    put("blue.json", {"blue": 1, "effort": -0.02})
    put("both.json", {"even": {"red": 1, "blue": 1}, "calm": {"effort": -1}})
    put("people.csv", "rater_id,camp,red,blue,effort\nana,0,1,0,-.1\nben,1,0,1,-.1\n")
    draw = torch.Generator().manual_seed(0)
    shown = Segments(torch.rand(40, 3, 3, generator=draw), names=FACTORS)
    slate = torch.randint(40, (200, 2), generator=draw)
    share = (shown.factors.sum(1)[slate][:, :, 0].diff(dim=1)[:, 0] < 0).double()
    slate, share = slate[slate[:, 0] != slate[:, 1]], share[slate[:, 0] != slate[:, 1]]
    data = pluralign.Comparisons.pairs(shown, slate[:, 0], slate[:, 1], torch.zeros(len(slate)).long(), share)
    pluralign.Pooled().fit(data).save(tmp_path / "belief")
    return tmp_path


def test_rewards_come_from_files(files):
    names = lambda path: [r.name for r in read_rewards(files / path, FACTORS)]
    assert names("red.json") == ["red"]
    assert names("both.json") == ["even", "calm"]
    assert names("people.csv") == ["ana", "ben"]
    assert names("belief") == ["belief"]
    row = torch.tensor([[2.0, 3.0, 10.0]]).double()
    assert float(read_rewards(files / "red.json", FACTORS)[0].steps(row)) == pytest.approx(1.8)
    np.save(files / "many.npy", np.zeros((2, 4, 3, 4)))
    assert names("many.npy") == ["many 0", "many 1"]


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("odd.json", '{"green": 1}', "weighs 'green', which the world does not publish; its factors are red"),
        ("odd.json", '{"red": "much"}', "must weigh 'red' with a number, got 'much'"),
        ("odd.json", "red", "is no JSON"),
        ("odd.json", "[1]", "must hold weights by factor"),
        ("odd.csv", "who,green\nana,1\n", "has no column that the world publishes"),
        ("odd.npy", "1", "is no table of numbers"),
        ("odd.txt", "1", "is no reward"),
    ],
)
def test_odd_files_are_told(tmp_path, name, text, told):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=told):
        read_rewards(tmp_path / name, FACTORS)
    with pytest.raises(FileNotFoundError, match="does not exist; give a belief's folder"):
        read_rewards(tmp_path / "none", FACTORS)
    with pytest.raises(ValueError, match="holds no rewards"):
        read_rewards(tmp_path, FACTORS)


def run(capsys, *words):
    code = main(["starc", *map(str, words)])
    out = capsys.readouterr()
    return code, out.out, out.err


def test_two_rewards_on_the_twin(files, capsys):
    code, out, _ = run(capsys, files / "red.json", files / "blue.json", "--env", MAZE, "--exact")
    assert code == 0
    assert out.startswith("red and blue: 1.4602 (exact)\n(0: the same order")
    assert "Optimising blue instead of red loses at most 98 % of what can be lost" in out
    assert not (files / "runs").exists()


def test_many_rewards_make_a_report_with_a_heat_map(files, capsys):
    out = files / "run"
    words = (
        files / "both.json",
        files / "people.csv",
        files / "belief",
        "--env",
        MAZE,
        "--exact",
        "--out",
        out,
    )
    code, told, _ = run(capsys, *words)
    assert code == 0
    assert told.rstrip().endswith("report.html")
    found = read_compared(out)
    assert found.names == ("even", "calm", "ana", "ben", "belief")
    torch.testing.assert_close(found.value, found.value.T)
    assert float(found.lost[2, 2]) == 0
    page = (out / "report.html").read_text()
    assert "<svg" in page
    assert "Farthest apart" in page
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 20
    assert main(["report", str(out)]) == 0
    assert capsys.readouterr().out == f"{out / 'report.html'}\n"
    code, again, _ = run(capsys, *words)  # the numbers are those of the folder
    assert again == told


def test_sampled_steps_on_the_command_line(files, capsys):
    words = ("--env", MAZE, "--steps", "1000", "--waves", "20", "--walkers", "50", "--learned", "0")
    code, out, _ = run(capsys, files / "red.json", files / "belief", *words)
    assert code == 0
    assert "standard error" in out
    assert "sampled steps can tell" in out or "not told apart" in out


def test_tables_of_ones_own(tmp_path, capsys):
    from pluralign.tabular import random_world

    world = random_world(5, 2, seed=0)
    np.savez(tmp_path / "mine.npz", transition=world.transition, start=world.start, discount=0.9)
    draw = np.random.default_rng(0)
    np.save(tmp_path / "a.npy", draw.normal(size=(5, 2)))
    np.save(tmp_path / "b.npy", draw.normal(size=(5, 2, 5)))
    code, out, _ = run(capsys, tmp_path / "a.npy", tmp_path / "b.npy", "--env", tmp_path / "mine.npz")
    assert code == 0
    assert out.startswith("a and b: ")
    value = starc(
        np.load(tmp_path / "a.npy"), np.load(tmp_path / "b.npy"), transition=world.transition, discount=0.9
    )
    assert f"{value.value:.4f}" in out
    (tmp_path / "w.json").write_text('{"gas": -1, "goal": 50}')
    (tmp_path / "v.json").write_text('{"gas": -1, "goal": 50, "sheep": -50}')
    code, out, _ = run(capsys, tmp_path / "w.json", tmp_path / "v.json", "--env", "delivery")
    assert code == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("red.json", "--env", MAZE, "--exact"), "two rewards at least are needed"),
        (("red.json", "blue.json", "--env", "nowhere"), "there is no world 'nowhere'"),
        (("red.json", "blue.json", "--env", "none.npz"), "none.npz does not exist"),
        (("red.json", "blue.json", "--env", MAZE, "--exact", "--canonical", "val-potential"), "is none of them"),
        (("red.json", "blue.json", "--env", ARM, "--exact"), "has no twin"),
        (("red.json", "blue.json", "--env", MAZE, "--discount", "1"), r"`discount` must be in \[0, 1\)"),
        (("red.json", "blue.json"), "required: --env"),
    ],
)  # fmt: skip
def test_bad_words_end_with_one_sentence(files, capsys, words, told):
    words = [files / w if w.endswith(".json") else w for w in words]
    code, _, err = run(capsys, *words)
    assert code == 2
    assert len(err.strip().splitlines()) == 1
    import re

    assert re.search(told, err)


def test_a_table_is_no_reward_of_factors(steps):
    with pytest.raises(ValueError, match="x is a table, which says nothing of factors"):
        compare([Reward("x", torch.zeros(3, 2).double())] * 2, steps)
    assert isinstance(steps, Transitions)
    assert not isinstance(steps, Table)


def test_worlds_go_by_their_short_names(tmp_path):
    for place in (MAZE, "maze", "pointmaze"):
        assert find_world(place, Cover(), exact=True, seed=0)[1] == f"the twin of {MAZE}"
    with pytest.raises(ValueError, match="there is no world 'moon'"):
        find_world("moon", Cover(), exact=False, seed=0)
