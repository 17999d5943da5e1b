"""How far rewards are apart in a world, and what it costs to optimise one instead of another: `pluralign starc`."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.lab.beds import world_named
from pluralign.lab.report import Report, canvas, figure, table
from pluralign.lab.reward_files import Reward, read_rewards
from pluralign.lab.run import Run, Stage
from pluralign.lab.sampling import Cover
from pluralign.lab.what_ran import settings_and_versions
from pluralign.metrics.distances import starc
from pluralign.metrics.sampled import Transitions, distances
from pluralign.tabular import Table, delivery, endless, expected, extremes, worst_of_best, worst_regret

SCALE = "0: the same order of all policies; 1.41: unrelated; 2: the opposite order"
_COPIED = 20  # rewards of which a shaped copy is measured, to know what the sample can tell
_PAIRS = 400  # with more pairs of rewards than this their exact losses are left out


@dataclass(frozen=True)
class Compared:
    """G rewards set side by side.

    Attributes:
        names: of the rewards. value, standard_error: (G, G) STARC distances.
        lost: (G, G) what optimising column b instead of row a loses of a, as a part of what can be lost; NaN where unknown.
        approved: (G, G) what a change of policy that b approves loses of a at worst.
        exact: whether these are of a table; from sampled steps they are rough.
        floor: how far apart a reward and its shaped copy come out; zero on tables.
        about: the world and how it was looked at, in words.
    """

    names: tuple[str, ...]
    value: Float[Tensor, "G G"]
    standard_error: Float[Tensor, "G G"]
    lost: Float[Tensor, "G G"]
    approved: Float[Tensor, "G G"]
    exact: bool
    about: str
    floor: float = 0.0

    def words(self, a: int, b: int) -> str:
        """What it costs to optimise b instead of a."""
        one, other = self.names[a], self.names[b]
        share = float(self.approved[a, b])
        if math.isnan(share):
            return f"{one} ranks no policies, so nothing can be lost of it by optimising {other}."
        if float(self.value[a, b]) < self.floor:
            return f"Equal copies of a reward come out up to {self.floor:.3f} apart here: {one} and {other} are not told apart."
        if self.exact:
            return (
                f"Optimising {other} instead of {one} loses at most {_percent(float(self.lost[a, b]))} of what can be "
                f"lost; a change of policy that {other} approves loses at most {_percent(share)}."
            )
        return (
            f"Optimising {other} instead of {one} loses at most about {_percent(share)} of what can be lost, as far as "
            "sampled steps can tell."
        )

    def frame(self) -> pd.DataFrame:
        """One row per ordered pair."""
        count = len(self.names)
        rows = [
            {
                "reward": self.names[a],
                "other": self.names[b],
                "starc": float(self.value[a, b]),
                "standard_error": float(self.standard_error[a, b]),
                "lost": float(self.lost[a, b]),
                "approved": float(self.approved[a, b]),
            }
            for a in range(count)
            for b in range(count)
            if a != b
        ]
        return pd.DataFrame(rows)


def compare(rewards: Sequence[Reward], world: Table | Transitions, *, canonical: str = "val") -> Compared:
    """All distances between rewards, with what they mean for policies.

    On a table everything is exact: distances with `canonical`, losses by linear programmes. From sampled steps, losses are
    what they would be if policies could weigh the steps freely within a ball: sin(angle) of a change that the other
    reward approves. Policies are fewer than that, and steps outside the sample count nothing.
    """
    names = tuple(reward.name for reward in rewards)
    if isinstance(world, Transitions):
        assert world.factors is not None
        count = len(rewards)
        paid = torch.stack([r.steps(world.factors) for r in rewards], -1)
        found = distances(torch.cat([paid, _shaped(paid[..., :_COPIED], world)], -1), world)
        copies = torch.arange(min(count, _COPIED))
        floor = float(found.value[copies, count + copies].max())
        value, error = found.value[:count, :count], found.standard_error[:count, :count]
        angle = 2 * torch.arcsin((value / 2).clamp(max=1.0))
        approved = torch.where(value < 2**0.5, angle.sin(), torch.ones_like(value))
        real = found.size[:count] > 0
        approved = torch.where(real, approved, torch.ones_like(approved))
        approved = torch.where(real[:, None], approved, torch.full_like(approved, math.nan))
        about = f"{len(world):,} sampled steps, {found.n} walks, discount {world.discount}"
        return Compared(names, value, error, torch.full_like(value, math.nan), approved, False, about, floor)
    tables = [_on_table(reward, world) for reward in rewards]
    value = torch.tensor([[float(starc(a, b, world, canonical=canonical)) for b in tables] for a in tables])
    mean = [t if t.dim() == 2 else expected(world.transition, t) for t in tables]
    nothing = torch.full((len(names), len(names)), math.nan, dtype=torch.float64)
    lost, approved = nothing.clone(), nothing.clone()
    if len(names) ** 2 <= _PAIRS:
        for a, one in enumerate(mean):
            for b, other in enumerate(mean):
                if not _ranks(world, one):
                    continue
                # To a reward that ranks nothing, every policy is best.
                known = a == b or not _ranks(world, other)
                lost[a, b] = float(a != b) if known else worst_of_best(world, one, other)
                approved[a, b] = float(a != b) if known else worst_regret(world, one, other)
    about = f"a table of {len(world.start)} states, exact, discount {world.discount}"
    return Compared(names, value.double(), torch.zeros_like(nothing), lost, approved, True, about)


def find_world(name: str, cover: Cover, *, exact: bool, seed: int) -> tuple[Table | Transitions, str]:
    """A world to compare in, and its name.

    Args:
        name: a simulated world by its id or short name, of which steps are sampled, or its twin is taken where `exact`; "delivery"; or a .npz
            file with transition (S, A, S), start (S,), discount, and factors (S, A, F) if there are any.
    """
    if name == "delivery":
        return endless(delivery()), "the delivery grid"
    if name.endswith(".npz"):
        return _table_from(Path(name)), Path(name).stem
    name = world_named(name)
    if not exact:
        return cover.sample(name, seed=seed), name
    from pluralign_envs import twin

    return Table.of(twin(name)), f"the twin of {name}"


def starc_run(
    files: Sequence[str | Path],
    world: str,
    out: str | Path | None,
    *,
    cover: Cover | None = None,
    exact: bool = False,
    canonical: str = "val",
    seed: int = 0,
    overwrite: bool = False,
) -> Compared:
    """Compare all rewards in `files`; with `out`, keep the tables, a heat map and a report there."""
    for file in files:  # before steps are sampled, which takes a while
        if not Path(file).exists():
            raise ValueError(
                f"{file} does not exist; give a belief's folder, a .json of weights, a .csv of people or a .npy table."
            )
    cover = Cover() if cover is None else cover
    place, name = find_world(world, cover, exact=exact, seed=seed)
    known = place.names if isinstance(place, Transitions) else place.factor_names
    rewards = [reward for file in files for reward in read_rewards(file, known)]
    if len(rewards) < 2:
        raise ValueError(
            f"two rewards at least are needed to compare, got {len(rewards)}; name another file."
        )
    rewards = _told_apart(rewards)
    if out is None:
        return compare(rewards, place, canonical=canonical)
    config = {
        "command": "starc",
        "files": [str(Path(file).resolve()) for file in files],
        "world": world,
        "exact": exact,
        "canonical": canonical,
        "cover": vars(cover),
        "seed": seed,
    }
    run = Run.open(out, config, overwrite)

    def work(stage: Stage) -> dict[str, Any]:
        found = compare(rewards, place, canonical=canonical)
        table = found.frame()
        table.to_csv(stage.folder / "distances.csv", index=False, float_format="%.9g")
        row: Any
        for row in table.itertuples():
            group = f"{row.reward}/{row.other}"
            stage.record(
                "starc", float(row.starc), group=group, seed=seed, standard_error=float(row.standard_error)
            )
        facts = {"names": list(found.names), "exact": found.exact, "floor": found.floor}
        return {**facts, "about": f"{name}: {found.about}"}

    try:
        run.stage("starc", work)
    except Exception:
        run.forget()
        raise
    run.finish()
    write_report(run.folder)
    return read_compared(run.folder)


def read_compared(run: str | Path) -> Compared:
    """What a run of `pluralign starc` found."""
    place = Path(run) / "stages" / "starc"
    facts = json.loads((place / "result.json").read_text("utf-8"))
    frame = pd.read_csv(
        place / "distances.csv", dtype={"reward": str, "other": str}, keep_default_na=False, na_values=[""]
    )
    number = {name: g for g, name in enumerate(facts["names"])}
    rows, columns = frame.reward.map(number).to_numpy(), frame.other.map(number).to_numpy()
    parts = []
    for column in ("starc", "standard_error", "lost", "approved"):
        square = torch.zeros(len(number), len(number), dtype=torch.float64)
        square[rows, columns] = torch.as_tensor(frame[column].to_numpy(dtype=float))
        parts.append(square)
    value, error, lost, approved = parts
    return Compared(
        tuple(facts["names"]), value, error, lost, approved, facts["exact"], facts["about"], facts["floor"]
    )


def write_report(run: str | Path, paper: Path | None = None) -> Path:
    """report.html of a comparison: the heat map, the table, and what it means in words."""
    run = Path(run)
    found = read_compared(run)
    report = Report(f"How far {len(found.names)} rewards are apart", f"In {found.about}.")
    a, b = divmod(int(found.value.argmax()), len(found.names))
    headline = f"Farthest apart: {found.names[a]} and {found.names[b]}, {float(found.value[a, b]):z.2f} of 2"
    said = [found.words(a, b), found.words(b, a)]
    careful = (
        ()
        if found.exact
        else (
            "Losses are estimated as if policies could weigh the sampled steps freely; no proof is made of samples. On finite "
            "worlds drawn at random a change that the other reward approves lost .4 to 2 times what is said here.",
        )
    )
    report.verdict(headline, said, careful)
    report.section("All distances", figure(heat_map(found), f"STARC distance; {SCALE}."))
    report.section("What optimising another reward costs", _costs(found))
    report.section(
        "What was run",
        settings_and_versions(run),
    )
    return report.write(run / "report.html", paper)


def heat_map(found: Compared) -> Any:
    """Distances between all rewards, those that are near each other put side by side."""
    count = len(found.names)
    order = _side_by_side(found.value.numpy())
    value, names = found.value.numpy()[np.ix_(order, order)], [found.names[g] for g in order]
    drawing, ax = canvas(min(9.0, 3.2 + 0.45 * count), min(8.0, 2.2 + 0.42 * count))
    image = ax.imshow(value, vmin=0, vmax=2, cmap="cividis_r")
    ax.grid(visible=False)
    small = 8 if count <= 20 else 5
    ax.set_xticks(range(count), names, rotation=60, ha="right", fontsize=small)
    ax.set_yticks(range(count), names, fontsize=small)
    if count <= 15:
        for a in range(count):
            for b in range(count):
                ink = "white" if value[a, b] > 1 else "black"
                ax.text(b, a, f"{value[a, b]:.2f}", ha="center", va="center", fontsize=7, color=ink)
    drawing.colorbar(image, ax=ax, label="STARC distance")
    return drawing


def _costs(found: Compared) -> str:
    rows: list[list[str]] = []
    for a, one in enumerate(found.names):
        for b, other in enumerate(found.names):
            if a != b and len(rows) < _PAIRS:
                error = "" if found.exact else f" ± {float(found.standard_error[a, b]):z.3f}"
                cost = [_percent(float(x[a, b])) for x in (found.lost, found.approved)]
                rows.append([f"{other} instead of {one}", f"{float(found.value[a, b]):z.3f}{error}", *cost])
    note = (
        "Of what can be lost of the second reward, best policy to worst: at worst by who optimises the first, and at worst by "
        "any one change of policy that the first approves."
    )
    return table(["optimised", "STARC", "loses", "a change loses at worst"], rows, caption=note)


def _side_by_side(value: np.ndarray) -> list[int]:
    from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
    from scipy.spatial.distance import squareform

    if len(value) < 3:
        return list(range(len(value)))
    flat = squareform(value, checks=False)
    return [int(g) for g in leaves_list(optimal_leaf_ordering(linkage(flat, "average"), flat))]


def _shaped(paid: Float[Tensor, "n K G"], steps: Transitions) -> Float[Tensor, "n K G"]:
    """Copies that order policies alike, by a potential that no sum of features is: the distance from the first state."""
    spread = steps.state.std(0)
    apart = lambda x: ((x - steps.state[0]) / torch.where(spread > 0, spread, torch.inf)).norm(dim=-1)
    pay = steps.discount * apart(steps.after) - apart(steps.state)[:, None]
    return paid + (paid.std((0, 1)) / pay.std()) * pay[..., None]


def _ranks(world: Table, reward: Float[Tensor, "S A"]) -> bool:
    try:
        extremes(world, reward)
    except ValueError:
        return False
    return True


def _on_table(reward: Reward, world: Table) -> Tensor:
    if isinstance(reward.value, Tensor):
        return reward.value
    return reward.steps(world.factors)


def _table_from(path: Path) -> Table:
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist; give a .npz file with transition, start and discount."
        )
    found = np.load(path, allow_pickle=False)
    missing = [name for name in ("transition", "start", "discount") if name not in found]
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}; it must hold transition, start and discount.")
    shape = found["transition"].shape[:2]
    factors = found["factors"] if "factors" in found else np.zeros((*shape, 0))
    names = tuple(str(n) for n in found["factor_names"]) if "factor_names" in found else ()
    tensor = lambda x: torch.as_tensor(np.asarray(x), dtype=torch.float64)
    return Table(
        tensor(found["transition"]),
        tensor(found["start"]),
        tensor(factors),
        float(found["discount"]),
        names or tuple(f"factor {f}" for f in range(factors.shape[-1])),
    )


def _told_apart(rewards: list[Reward]) -> list[Reward]:
    """Names that differ: those that come twice get a number."""
    seen: dict[str, int] = {}
    out = []
    for reward in rewards:
        seen[reward.name] = seen.get(reward.name, 0) + 1
        again = seen[reward.name]
        name = reward.name if again == 1 else f"{reward.name} ({again})"
        out.append(Reward(name, reward.value, reward.weight))
    return out


def _percent(share: float) -> str:
    return (
        "unknown"
        if math.isnan(share)
        else f"{100 * share:.0f} %"
        if share > 0.0995
        else f"{100 * share:.1f} %"
    )
