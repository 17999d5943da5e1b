"""The experiment on any world: small, stopped in the middle, gone on with, and what it writes; and its parts."""

import json

import numpy as np
import pytest
import torch

pytest.importorskip("stable_baselines3.ppo")

from pluralign.cli import main
from pluralign.data import Segments
from pluralign.lab import experiment as module
from pluralign.lab import experiment_stages as stages
from pluralign.lab import experiment_training as training
from pluralign.lab import shown as shown_module
from pluralign.lab.beds import BEDS, Bed, bed
from pluralign.lab.experiment import Experiment, answers_of, wanted
from pluralign.lab.experiment_report import against_own, lacking, own_camps, read, screen, told_taste
from pluralign.lab.experiment_stages import STAGES, summary
from pluralign.lab.experiment_training import envied
from pluralign.lab.films import film
from pluralign.lab.run import Run
from pluralign.lab.serving import Taught, episodes_lost, factor_returns, regret, served
from pluralign.lab.shown import NOBODY, Shown, collect, signed, windows
from pluralign.policies.learners.ppo import RandomPolicy
from pluralign.raters import PRESETS, questions
from pluralign.rewards import known_voices
from pluralign.streams import Streams

SMALL = {
    "people": 6,
    "asked": 8,
    "segments": 60,
    "episodes": 16,
    "training": 0.2,
    "seeds": 1,
    "films": False,
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One run, stopped by Ctrl-C before the lottery, and gone on with."""
    out = tmp_path_factory.mktemp("runs") / "reacher"
    words = STAGES["welfare"][0]

    def stopped(*given):
        raise KeyboardInterrupt

    patch = pytest.MonkeyPatch()
    patch.setattr(stages, "STAGES", {**STAGES, "welfare": (words, stopped)})
    with pytest.raises(KeyboardInterrupt):
        Experiment("reacher", **SMALL).run(out)
    patch.undo()
    kept = out / "stages" / "personal-0" / "result.json"
    before = kept.stat().st_mtime_ns
    Experiment("reacher", **SMALL).run(out)
    assert kept.stat().st_mtime_ns == before  # done once
    return out


@pytest.mark.slow
def test_a_stopped_run_goes_on_and_reports(finished):
    page = (finished / "report.html").read_text("utf-8")
    assert page.count("<svg") == 3
    for title in ("Who is left behind", "What could be had", "Learning curves"):
        assert title in page
    for asks in ('src="http', 'href="http', "url(http", "@import"):
        assert asks not in page
    assert "everybody's own" in screen(finished)
    rows = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    curves = {row["group"] for row in rows if row["name"] == "reward while training"}
    assert {"camp 0", "camp 1", "voice 0", "pooled", "personalised"} <= curves


@pytest.mark.slow
def test_the_scale_is_one_for_random_and_zero_for_the_best_known(finished):
    judged = read(finished)["judged"][0]
    alone = {n: np.array(row, dtype=float) for n, row in judged["regret"].items() if n != "personalised"}
    assert np.nanmax(np.abs(alone["random"] - 1)) < 1e-9
    assert np.nanmax(np.abs(np.min(list(alone.values()), 0))) < 1e-9
    assert judged["lost"] == 0
    assert judged["group"].count(0) == 3


@pytest.mark.slow
def test_another_config_is_refused(finished):
    with pytest.raises(FileExistsError, match="people was 6 and is now 7"):
        Experiment("reacher", **{**SMALL, "people": 7}).run(finished)


def test_regret_by_hand():
    """Random 1, best 5: 3 is half the way, of the same two first episodes; nobody is judged who gains nothing."""
    returns = torch.tensor([[3.0, 3.0], [7.0, 7.0], [1.0, 1.0]]).double()
    best = torch.tensor([[5.0, 5.0, 5.0, 5.0], [9.0, 5.0, 3.0, 3.0], [1.0, 1.0, 1.0, 1.0]]).double()
    found = regret(returns, torch.ones(3).double(), best)
    assert found[:2].tolist() == [0.5, 0.0]
    assert found[2].isnan()


def test_summary_leaves_out_who_has_nothing_to_gain():
    found = summary(torch.tensor([0.0, 0.1, 0.2, 0.3, torch.nan, 4.0]))
    assert found["worst decile"].value == pytest.approx(4.0)
    assert found["interquartile mean"].value == pytest.approx(0.2)  # of five the outer one each


def test_windows_are_pieces_of_episodes_that_lasted():
    factors = torch.arange(60.0).reshape(3, 20, 1)
    mask = torch.ones(3, 20, dtype=torch.bool)
    mask[1, 5:] = False  # too short
    mask[2, 12:] = False
    seen = Segments(factors * mask[..., None], mask)
    found = windows(seen, 200, 10, seed=0)[..., 0]
    assert (found.diff(dim=1) == 1).all()
    begin = found[:, 0]
    assert set(begin.tolist()) == {*range(11), 40, 41, 42}
    with pytest.raises(ValueError, match="segments have 21 steps and the longest episode has 20"):
        windows(seen, 1, 21, seed=0)


@pytest.mark.parametrize("name", BEDS)
def test_every_bed_names_factors_of_its_world(name):
    here = bed(name)
    signs = here.signs()
    assert sum(s == 1 for s in signs.values()) == len(here.goals) >= 2
    assert sum(s == -1 for s in signs.values()) == len(here.costs) >= 1
    assert here.learner(0.5).steps * 2 == here.learner().steps


def test_every_world_has_a_bed():
    from pluralign_envs.catalogue import WORLDS

    assert {here.world for here in BEDS.values()} == set(WORLDS)


def test_a_wrong_factor_is_one_sentence():
    with pytest.raises(ValueError, match=r"has no factor 'sped'; there are speed, power") as caught:
        Bed("pluralign/Cheetah-v0", ("sped",), ("power",)).signs()
    assert "\n" not in str(caught.value)


def some(bed_name, count=40, spread=3.0):
    """Segments whose factors all vary alike."""
    here = bed(bed_name)
    names = tuple(here.signs())
    generator = torch.Generator().manual_seed(0)
    factors = spread * torch.randn(count, here.window, len(names), generator=generator) / here.window**0.5
    return Shown(Segments(factors, names=names), torch.full((len(names),), spread).double())


@pytest.mark.parametrize("population", PRESETS)
def test_any_population_answers_about_any_world(population):
    """What nobody cares for moves nobody; what people care for is worth utils, not hundreds or thousandths."""
    settings = Experiment("ant", population=population, people=20, asked=12)
    shown = some("ant")
    people, train, test = answers_of(settings, shown, 0)
    assert (len(train), len(test)) == (20 * 12, 20 * module.JUDGED)
    utils = wanted(settings, people) * shown.scale
    names = list(bed("ant").signs())
    minded = [names.index(n) for n in (*bed("ant").goals, *bed("ant").costs)]
    others = [n for n in range(len(names)) if n not in minded]
    assert float(utils[:, others].abs().max()) < 1e-4
    assert 0.5 < float(utils[:, minded].norm(dim=1).mean()) < 5


def test_drifting_people_are_judged_as_they_are_in_the_end():
    settings = Experiment("ant", population="drifting", people=6, asked=100)
    people = answers_of(settings, some("ant"), 0)[0]
    assert torch.equal(wanted(settings, people), people.at(100).taste.double())
    assert not torch.allclose(wanted(settings, people), people.taste.double())


def test_questions_by_design_are_judged_by_random_pairs():
    plain, told = (
        answers_of(Experiment("ant", people=6, asked=12, questions=name), some("ant"), 0)
        for name in ("uniform", "designed")
    )
    assert torch.equal(plain[2].slate, told[2].slate)
    assert torch.equal(plain[2].label, told[2].label)
    slate, rater = questions(40, 12, 6, Streams(0).below("people"))
    assert torch.equal(plain[1].slate, slate)
    assert torch.equal(plain[1].rater, rater)
    mine = told[1].slate.view(6, -1).tolist()
    assert all(len(set(row)) == 24 for row in mine)
    with pytest.raises(ValueError, match=r"`questions` must be one of uniform, .*designed, got 'few'"):
        Experiment("ant", questions="few")


def test_who_gets_clearly_more_from_another_policy_envies_it():
    """Voice 1 gains 1 by the first policy; voice 2 gains .1 on average, with a standard error of .6."""
    luck = torch.randn(2, 64, generator=torch.Generator().manual_seed(0)).double()
    gain = torch.tensor([[2.0, 1.0, 0.1], [1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]).double()

    class Known:
        def returns(self, policy, voices, *, seed):
            found = luck[0][:, None] + gain[policy]
            return found + 5 * luck[1][:, None] * torch.tensor([0, 0, policy == 0])

    voices = known_voices(torch.eye(3).double())
    assert envied(Known(), voices, (0, 1, 2), 0) == [0, 0, 2]
    assert envied(Known(), voices, (2, 1, 0), 0) == [2, 2, 2]
    assert envied(Known(), voices, (1, 1, 1), 0) == [0, 1, 2]


def test_signed_scales():
    found = signed(bed("cheetah"), torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]).double())
    assert found == {"speed": 1, "power": -2, "height": 3, "upright": -4 * NOBODY, "bounce": -5}
    never_seen = signed(bed("crowd"), torch.tensor([1.0, 1e-12, 1.0, 1.0, 1.0]).double())
    assert never_seen["arrival"] == -NOBODY


def test_the_share_of_the_first_camp():
    settings = Experiment("cheetah", people=22, share=10 / 11)
    assert torch.bincount(answers_of(settings, some("cheetah"), 0)[0].group).tolist() == [20, 2]


def test_a_taste_in_words():
    names = ["speed", "power", "height"]
    assert told_taste(np.array([2.0, -0.5, 0.7]), names) == "speed +2.0, height +0.7"
    assert told_taste(np.zeros(3), names) == "indifferent"


@pytest.mark.parametrize(
    ("own", "heard", "voices", "says"),
    [
        (0.05, 0.5, 2, "10 answers of each of 4 people do not tell its taste well enough"),
        (0.05, 0.5, 1, "4 people, who sound like 1 of 2 camps, do not tell"),
        (0.4, 0.5, 2, "training is too short"),
        (0.05, 0.1, 2, "one policy for all tastes is trained too little"),
    ],
)
def test_the_report_says_whether_answers_or_training_are_lacking(own, heard, voices, says):
    regret = {
        "personalised": [0.0, 0.1, 0.5, 0.7],
        "own voice": [0.0, 0.0, heard, heard],
        "camp 0": [0.0, 0.0, 1.0, 1.0],
        "camp 1": [1.0, 1.0, own, own],
    }
    told = {
        "config": {"asked": 10, "people": 4},
        "judged": [{"group": [0, 0, 1, 1], "regret": regret}],
        "voices": [{"count": voices}],
    }
    (sentence,) = lacking(told)
    assert sentence.startswith("Camp 1 loses 60%")
    assert says in sentence
    regret["personalised"][2:] = [0.1, 0.2]
    assert lacking(told) == []


def test_a_model_may_be_told_how_many_camps_to_find():
    assert Experiment("maze", model="trust", groups=2).explains().groups == 2
    assert Experiment("maze", model="trust").explains().groups == 1
    with pytest.raises(ValueError, match="pooled has no setting 'groups'"):
        Experiment("maze", model="pooled", groups=2)


def test_each_person_has_the_voice_that_points_their_way():
    z = torch.tensor([[1.0, 0.0], [0.0, 5.0]])
    known = torch.tensor([[10.0, 1.0], [0.1, 0.2], [-1.0, -9.0]])
    assert stages._nearest(known, z).tolist() == [0, 1, 0]


class Counting:
    """A learner that counts how often it trains."""

    discount = 0.9

    def __init__(self):
        self.asked, self.start = 0, None

    def improve(self, voices, weight, *, seed=0, start=None, progress=None):
        self.asked += 1
        self.start = self.start if start is None else start
        return named("trained")


class Personally:
    """Serves any taste, and remembers whom it was asked for."""

    def __init__(self):
        self.asked = []

    def of(self, z):
        self.asked.append(z.tolist())
        return named(9)


def named(name):
    """A policy that is told from others by its count of actions."""
    return RandomPolicy(
        torch.zeros(0), torch.zeros(0), {"first": 1, "second": 2, "trained": 3}.get(name, name)
    )


def test_what_is_known_is_not_trained_again():
    voices = known_voices([[1.0, 0.0], [0.0, 1.0]])
    base = Counting()
    taught = Taught(base, voices, (named("first"), named("second")))
    assert taught.improve(voices, torch.tensor([0.0, 3.0])).count == 2
    assert base.asked == 0
    for other in (
        (voices, torch.tensor([0.5, 0.5]), None),
        (voices, torch.tensor([1.0, 0.0]), named("first")),
        (voices.scaled(torch.tensor([2.0, 1.0]).double()), torch.tensor([1.0, 0.0]), None),
    ):
        assert taught.improve(other[0], other[1], start=other[2]).count == 3
    assert base.asked == 3
    assert isinstance(base.start, RandomPolicy)  # nobody else's way is known
    personal = Personally()
    told = Taught(base, voices, (named("first"), named("second")), (named("trained"),), personal)
    told.improve(voices, torch.tensor([0.25, 0.75]), start=named("first"))
    assert [policy.count for policy in base.start] == [1, 9]
    assert personal.asked == [[0.25, 0.75]]


class Paying:
    """A learner whose policies bring as many of the first factor as they have actions, and none of the second."""

    def random(self):
        return named("first")

    def returns(self, policy, voices, *, seed=0):
        return (policy.count * voices.z[:, 0])[None].float()


def test_a_voice_that_nothing_helps_has_no_say():
    pair = known_voices([[1.0, 0.0], [0.0, 1.0]], [0.8, 0.2], names=("a", "b"))
    own = (named("second"), named("trained"))
    voices, kept, silent = training._gaining(Paying(), pair, own)
    assert (voices.names, voices.weight.tolist(), silent) == (("a",), [1.0], ["b"])
    assert kept == own[:1]
    assert training._gaining(Paying(), voices, kept) == (voices, kept, [])


def test_each_voice_keeps_the_policy_that_brings_it_more():
    pair = known_voices([[1.0, 0.0], [-1.0, 0.0]])
    few, many = (named("first"), named("first")), (named("trained"), named("trained"))
    assert [p.count for p in training._better(Paying(), pair, few, many)] == [3, 1]


def test_everybody_is_judged_from_the_same_first_states():
    """A personal policy that ignores whom it serves gives each person what it gives anybody."""

    class Same:
        def act(self, observation, z, *, generator=None):
            return np.full((len(observation), 2), 0.3, dtype=np.float32)

    class Alone:
        def act(self, observation, *, generator=None):
            return np.full((len(observation), 2), 0.3, dtype=np.float32)

        def save(self, folder):
            raise NotImplementedError

    learner = bed("reacher").learner()
    seen = served(learner, Same(), torch.zeros(3, 7), 5)
    each = factor_returns(seen, learner.discount).reshape(3, module.EACH, -1)
    one = factor_returns(learner.rollout(Alone(), module.EACH, seed=5), learner.discount)
    for person in each:
        assert torch.allclose(person, one, rtol=1e-12)  # rounding alone: one has a mask
    assert episodes_lost(seen, bed("reacher").world) == 0
    cut = Segments(seen.factors, torch.arange(60) < torch.tensor([[60], [59], [7]]).repeat(16, 1))
    assert episodes_lost(cut, bed("reacher").world) == 32


def test_segments_differ_in_every_goal_of_a_maze(monkeypatch):
    monkeypatch.setattr(shown_module, "BEHAVIOURS", 1)
    here = bed("large-maze")
    learner = here.learner(0.01, imitation=10)
    shown = collect(here, learner, 200, Streams(0))
    assert len(shown.segments) == 200
    assert (shown.scale[:10] > 0).all()


BAD = {
    "reachr": ({}, "there is no world 'reachr' (did you mean 'reacher'?); there are maze, large-maze"),
    "reacher": ({"population": "clans"}, "there is no population 'clans'; there are two-camps"),
    "maze": ({"population": "ten-camps", "people": 6}, "6 people are too few for camps of shares"),
    "crowd": ({"welfare": "kindness"}, "no welfare is called 'kindness'; there are mean, maxmin"),
    "ant": ({"model": "clans"}, "no population is called 'clans'; there are pooled"),
    "cheetah": ({"seeds": 0}, "`seeds` must be at least 1, got 0"),
    "walker": ({"share": 1.5}, "`share` must lie between 0 and 1"),
    "pusher": ({"training": 0.0}, "`training` must be positive"),
    "large-maze": ({"training": 4000}, "a part of the usual steps"),
    "safety": ({"people": 1}, "`people` must be at least 2"),
}


CAMPS = 'kind = "camps"\nshare = [0.7, 0.3]\ncentres = [{ speed = 2.0 }, { height = 3.0, power = -0.1 }]\n'


def test_a_population_in_a_file(tmp_path):
    """Tastes stand there by factor; a file that changes is another experiment, and a run keeps its own copy."""
    path = tmp_path / "clans.toml"
    path.write_text(CAMPS)
    settings = Experiment("cheetah", population=str(path), people=10, asked=2)
    people = answers_of(settings, some("cheetah"), 0)[0]
    names = list(bed("cheetah").signs())
    assert torch.bincount(people.group).tolist() == [7, 3]
    assert people.taste[people.group == 0].unique(dim=0).tolist() == [[2.0 * (n == "speed") for n in names]]
    run = Run.open(tmp_path / "run", {"command": "experiment", **settings.config()})
    settings.keep_people(run)
    assert (tmp_path / "run" / "population.toml").read_text() == CAMPS
    path.write_text(CAMPS.replace("2.0", "3.0"))
    with pytest.raises(FileExistsError, match="holds a run of another config"):
        Run.open(tmp_path / "run", {"command": "experiment", **settings.config()})
    assert "population_sha256" not in Experiment("cheetah").config()


WRONG = {
    CAMPS.replace("0.7", "0.8"): "clans.toml: `share` must sum to 1, got (0.8, 0.3), which sums to 1.1.",
    CAMPS.replace("0.7", "1.0").replace("0.3", "0.0"): "leave out a camp with nobody in it",
    CAMPS.replace("0.7", "0.99").replace("0.3", "0.01"): "camp 1 would have nobody; take more people",
    CAMPS.replace("speed", "sped"): "a factor 'sped' that does not exist; there are speed, power, height",
    'kind = "clans"': "`kind` must be one of camps, gaussian",
    'preset = "ranked"': "an experiment judges policies by sums of factors",
    'preset = "ideal-points"': "one number for each of speed, power, height",
    "share = [": "clans.toml: ",
    None: "no population at clans.toml",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_population_is_one_sentence_before_anything_is_trained(text, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if text is not None:
        (tmp_path / "clans.toml").write_text(text)
    assert main(["experiment", "cheetah", "--population", "clans.toml"]) == 2
    told = capsys.readouterr().err.strip()
    assert WRONG[text] in told
    assert len(told.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("world", BAD)
def test_settings_that_make_no_sense_are_one_sentence(world, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings, message = BAD[world]
    words = [f"--{name}={value}" for name, value in settings.items()]
    assert main(["experiment", world, *words]) == 2
    told = capsys.readouterr().err.strip()
    assert message in told
    assert len(told.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_the_maze_has_an_own_experiment_and_the_general_one(capsys):
    for words, there, not_there in (
        (["maze"], "--newcomers", "--jobs"),
        (["maze", "--population", "ten-camps"], "--jobs", "--newcomers"),
        (["cheetah"], "--welfare", "--newcomers"),
    ):
        assert main(["experiment", *words, "--help"]) == 0
        told = capsys.readouterr().out
        assert there in told
        assert not_there not in told


def test_without_graphics_the_report_says_what_to_install(tmp_path, monkeypatch):
    from pluralign.lab import films

    def blind(*given):
        raise RuntimeError("No graphics for rendering; run `apt-get install libegl1`.")

    monkeypatch.setattr(films, "frames", blind)
    assert (
        film(bed("reacher"), {"a": named(20)}, tmp_path, 0)
        == "No graphics for rendering; run `apt-get install libegl1`."
    )
    assert not list(tmp_path.iterdir())


def test_a_film_shows_policies_side_by_side(tmp_path, monkeypatch):
    from PIL import Image

    from pluralign.lab import films

    grey = lambda bed, policy, seed: ([np.full((192, 256, 3), policy.count, dtype=np.uint8)] * 3, 20.0)
    monkeypatch.setattr(films, "frames", grey)
    monkeypatch.setenv("PATH", str(tmp_path))  # no ffmpeg
    assert film(bed("reacher"), {"dark": named(20), "light": named(220)}, tmp_path, 0) is None
    with Image.open(tmp_path / "film.gif") as shown:
        assert shown.size == (512, 192 + films.STRIP)
        rows = np.asarray(shown.convert("L"))[films.STRIP + 5 :]
    assert abs(rows[:, :250].mean() - 20) < 10
    assert abs(rows[:, 260:].mean() - 220) < 10


def test_regret_against_the_policy_of_the_own_camp():
    """By hand: nobody is in the first of three camps, so that two policies were trained, in the order of the others."""
    returns = {"camp 0": torch.tensor([[2.0], [5.0], [5.0]]), "camp 1": torch.tensor([[9.0], [4.0], [3.0]])}
    assert stages._own_camp(returns, torch.tensor([1, 2, 2]))[:, 0].tolist() == [2.0, 4.0, 3.0]
    judged = {
        "regret": {"camp 0": [0.2, 0.9], "camp 1": [0.8, 0.5]},
        "group": [1, 2],
        "against own camp": [0.0, None],
    }
    told = {"judged": [judged]}
    assert own_camps(told)[0].tolist() == [0.2, 0.5]
    assert against_own(told)[0].isnan().tolist() == [False, True]
