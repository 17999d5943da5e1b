"""A simulated world on disk: what was shown, what people said, what they want, and the episodes for offline learners."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

import pluralign
from pluralign.cli import main
from pluralign.lab.beds import world_named
from pluralign.lab.episodes import Episodes, collect, joined, read_minari, write_minari
from pluralign.lab.simulate_world import SimulateWorld, scales, wishes
from pluralign.policies.learners.ppo import PPO
from pluralign.raters import CURVED, PRESETS, preset, read_population

SMALL = {"raters": 30, "answers": 6, "episodes": 6, "segments": 40, "steps": 10, "training": 0}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder about the maze, and what it was made from."""
    world = SimulateWorld("maze", **SMALL)
    folder = tmp_path_factory.mktemp("world") / "answers"
    return world, world.write(folder)[0]


def test_the_folder_holds_what_offline_learners_need(made):
    _, folder = made
    data = pluralign.read(folder)
    assert len(data) == 180
    pieces, episodes = data.options, read_minari(folder / "episodes")
    assert pieces.names == ("red", "blue", "effort")
    assert pieces.dt == pytest.approx(0.15)
    about = pd.read_csv(folder / "items.csv.gz")
    # Every piece is a part of an episode, to the last bit, with what was seen and done.
    for n in (0, 17, 39):
        e, at = int(about.episode[n]), slice(int(about.start[n]), int(about.start[n]) + 10)
        assert torch.equal(pieces.factors[n], episodes.factors[e, at])
        assert torch.equal(pieces.observation[n], episodes.observation[e, at])
        assert torch.equal(pieces.action[n], episodes.action[e, at])
    assert episodes.policy == (
        "random",
        "random",
        "medium, camp 0",
        "medium, camp 1",
        "expert, camp 0",
        "expert, camp 1",
    )
    assert not [p.name for p in folder.parent.iterdir() if p.name.startswith(".")]


def test_the_truth_lies_beside_and_explains_the_answers(made):
    _, folder = made
    data = pluralign.read(folder)
    truth, share = pd.read_csv(folder / "truth.csv"), np.load(folder / "truth_share.npy")
    assert list(truth.rater_id) == list(data.rater_ids)
    people = read_population(folder / "population.toml", scales(data.options)).draw(30, 0)
    assert truth[["red", "blue", "effort"]].to_numpy() == pytest.approx(people.taste.numpy(), rel=1e-6)
    assert truth.group.tolist() == people.group.tolist()
    assert people.share(data.options, data.slate, data.rater)[:, 0].numpy() == pytest.approx(share)
    error = np.sqrt((share * (1 - share)).sum())
    assert abs(float(data.label[:, 0].sum()) - share.sum()) < 4 * error


def test_the_same_words_make_the_same_folder(made, tmp_path):
    world, folder = made
    again, _ = SimulateWorld("pluralign/PointMaze-v0", **SMALL).write(tmp_path / "again")
    for name in ("comparisons.csv.gz", "truth.csv", "population.toml", "items.csv.gz"):
        assert (again / name).read_bytes() == (folder / name).read_bytes(), name
    other, _ = SimulateWorld("maze", **SMALL, seed=1).write(tmp_path / "other")
    assert (other / "truth.csv").read_bytes() != (folder / "truth.csv").read_bytes()
    with pytest.raises(FileExistsError, match="again exists already"):
        world.write(tmp_path / "again")


@pytest.mark.parametrize("name", [n for n in PRESETS | CURVED if n != "two-camps"])
def test_every_population_answers_about_the_pieces(made, name):
    _, folder = made
    pieces = pluralign.read(folder).options
    world = SimulateWorld("maze", population=name, **SMALL, long_tailed=name == "long-tail")
    data, people = world.answer(pieces)
    assert data.raters == 30
    assert len(data) <= 180
    assert len(data) > 60 or name == "ranked"
    wanted, names = wishes(people, pieces, 3)
    assert len(wanted) == len(names) <= 3
    assert bool(torch.isfinite(wanted).all())


@pytest.mark.parametrize(
    "id", ["cheetah", "walker", "ant", "reacher", "crowd", "pusher", "sharedsafety", "pointmazelarge"]
)
def test_every_world_can_be_watched(id):
    world = SimulateWorld(id, **(SMALL | {"episodes": 3}), quality="random")
    episodes = world.watched()
    assert len(episodes) == 3
    pieces = episodes.cut(20, 10, 0)[0]
    assert set(pieces.names) == set(scales(pieces))
    data, _ = world.answer(pieces)
    assert len(data) == 180
    assert not bool(episodes.terminated.any())


def test_who_acts_at_random_part_of_the_time():
    learner = PPO(world_named("maze"), steps=0)
    random = learner.random()

    class Still:
        def act(self, observation, *, generator=None):
            return np.zeros((len(observation), 2), np.float32)

        def save(self, folder):
            raise NotImplementedError

    told = [
        collect("pluralign/PointMaze-v0", Still(), 64, 0, random=random, part=part)
        for part in (0.0, 0.5, 1.0)
    ]
    still = [(episodes.action == 0).all(-1) for episodes in told]
    assert [bool(s.all()) for s in still] == [True, False, False]
    assert not bool(still[2].any())
    # Runs of five steps, each random or not by the toss of a coin: 64 * 20 tosses.
    assert abs(float(still[1].double().mean()) - 0.5) < 4 * 0.5 / (64 * 20) ** 0.5
    assert bool((still[1][:, 0:5] == still[1][:, :1]).all())
    assert told[0].observation.shape[1] == 101


def test_what_is_seen_last_is_the_end_and_not_a_new_beginning():
    random = PPO(world_named("maze"), steps=0).random()
    episodes = collect("pluralign/PointMaze-v0", random, 8, 0, random=random, part=1.0)
    step = (episodes.observation[:, 1:, :2] - episodes.observation[:, :-1, :2]).norm(dim=-1)
    assert float(step[:, -1].max()) <= 1.5 * float(step[:, :-1].max())


def episodes(longest=5):
    length = torch.tensor([longest, 3])
    there = torch.arange(longest) < length[:, None]
    draw = torch.Generator().manual_seed(0)
    rows = lambda steps, width: torch.randn(2, steps, width, generator=draw)
    seen = rows(longest + 1, 3) * (torch.arange(longest + 1) <= length[:, None])[..., None]
    done = torch.tensor([False, True])
    act, factors = rows(longest, 2) * there[..., None], rows(longest, 1) * there[..., None]
    return Episodes(seen, act, factors, length, done, ("a", "b"), 0.5, ("speed",), "pluralign/X-v0")


def test_minari_folders_come_back(tmp_path):
    one = episodes()
    folder = write_minari(one, tmp_path / "x-mixed-v0")
    two = read_minari(folder)
    for name in ("observation", "action", "factors", "length", "terminated"):
        assert torch.equal(getattr(one, name), getattr(two, name)), name
    assert (two.policy, two.dt, two.names, two.world) == (one.policy, one.dt, one.names, one.world)
    about = json.loads((folder / "data" / "metadata.json").read_text())
    assert (about["total_episodes"], about["total_steps"]) == (2, 8)
    with pytest.raises(FileExistsError, match="exists already"):
        write_minari(one, folder)


def test_minari_arrays_have_its_names_and_shapes(tmp_path):
    folder = write_minari(episodes(), tmp_path / "x")
    if (folder / "data" / "main_data.hdf5").is_file():
        pytest.skip("read above by h5py")
    with np.load(folder / "data" / "main_data.npz") as held:
        shapes = {name: held[name].shape for name in held.files if name.startswith("episode_1/")}
        assert shapes == {
            "episode_1/observations": (4, 3),
            "episode_1/actions": (3, 2),
            "episode_1/rewards": (3,),
            "episode_1/terminations": (3,),
            "episode_1/truncations": (3,),
            "episode_1/infos/factors": (4, 1),
        }
        assert held["episode_1/terminations"].tolist() == [False, False, True]
        assert held["episode_0/truncations"].tolist() == [False] * 4 + [True]


def test_a_dataset_from_elsewhere_pays_a_reward(tmp_path):
    (tmp_path / "d" / "data").mkdir(parents=True)
    arrays = {
        "observations": np.zeros((4, 2)),
        "actions": np.array([0, 1, 0]),
        "rewards": np.array([1.0, 2.0, 3.0]),
    }
    ends = {"terminations": np.array([False, False, True]), "truncations": np.zeros(3, bool)}
    np.savez(
        tmp_path / "d" / "data" / "main_data.npz", **{f"episode_0/{k}": v for k, v in (arrays | ends).items()}
    )
    found = read_minari(tmp_path / "d")
    assert found.names == ("reward",)
    assert found.segments().factors[0, :, 0].tolist() == [1, 2, 3]
    assert found.action.shape == (1, 3, 1)
    with pytest.raises(FileNotFoundError, match="no dataset at"):
        read_minari(tmp_path / "nothing")


def test_pieces_lie_inside_their_episode():
    one = joined([episodes(5), episodes(7)])
    assert one.observation.shape == (4, 8, 3)
    pieces, episode, first = one.cut(200, 4, 0)
    assert set(episode.tolist()) == {0, 2}
    assert bool((first + 4 <= one.length[episode]).all())
    assert torch.equal(pieces.action[0], one.action[episode[0], first[0] : first[0] + 4])
    assert one.segments().mask.sum(1).tolist() == [5, 3, 7, 3]
    with pytest.raises(ValueError, match="`steps` must be at most 7, the longest episode, got 9"):
        one.cut(2, 9, 0)


def test_costs_are_what_people_want_less_of(made):
    _, folder = made
    found = scales(pluralign.read(folder).options)
    assert found["effort"] < 0 < found["red"]
    assert preset("two-camps", found).centres[0][2] < 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("simulate moon --out x", "there is no world 'moon'; there are maze, large-maze, "),
        ("simulate maze --out x --quality good", "`quality` must be one of random, medium, expert, mixed, got 'good'"),
        ("simulate maze --out x --questions odd", "`questions` must be one of uniform, high-contrast"),
        ("simulate maze --out x --raters 0", "`raters` must be 1 or more, got 0"),
        ("simulate maze --out x --quality random --population five-camps", "There is no population 'five-camps'"),
        ("simulate maze --out x --quality random --population no.toml", "no population at no.toml"),
        ("simulate maze --out x --quality random --population bad.toml", "names a factor 'green' that does not exist; there are red, blue, effort"),
        ("simulate maze --out here", "here exists already"),
        ("simulate maze --out x --quality random --steps 500", "`steps` must be at most 100"),
    ],
)  # fmt: skip
def test_bad_words_get_one_sentence(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    (tmp_path / "bad.toml").write_text('kind = "camps"\nshare = [1.0]\ncentres = [{ green = 1 }]\n')
    assert main(words.split()) == 2
    told = capsys.readouterr().err.strip()
    assert message in told
    assert "\n" not in told
    assert not (tmp_path / "x").exists()


def test_the_command_writes_and_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.toml").write_text('preset = "timed"\nstrength = 4\n')
    words = "simulate maze --out x --population p.toml --quality random --raters 20 --answers 5 --episodes 4 --segments 30"
    assert main(words.split()) == 0
    assert (
        "100 answers of 20 people (p.toml) about pluralign/PointMaze-v0 are in x" in capsys.readouterr().out
    )
    data = pluralign.read(tmp_path / "x")
    assert float(data.response_time.min()) > 0.4
    assert main(["list", "raters"]) == 0
    told = capsys.readouterr().out
    for name in ("two-camps", "ranked", "kind ideal", "change fatigue", "fault mistake", "teacher myopic"):
        assert f"\n{name}" in f"\n{told}"
