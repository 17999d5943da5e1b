"""Episodes of mixed quality, from reset to end: collected, cut into segments, and kept on disk as Minari keeps them."""

import importlib.util
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pluralign.data.options import Segments
from pluralign.policies.learner import Policy
from pluralign.policies.learners.batch import World, made, played
from pluralign.policies.learners.episodes import one_thread
from pluralign.streams import Seed, Streams

QUALITY = {"random": 1.0, "medium": 0.5, "expert": 0.0}
"""How much of the time somebody acts at random instead of by a trained policy."""
HELD = 5  # steps for which random actions, or none, are kept up: long enough to get somewhere


@dataclass(frozen=True)
class Episodes:
    """E whole episodes of at most T steps.

    Attributes:
        observation: (E, T + 1, O) before every step, and after the last.
        action: (E, T, A). factors: (E, T, F) what each step published.
        length: (E,) steps. terminated: (E,) whether the world ended it, rather than a time limit.
        policy: E names: who acted.
        dt: seconds per step.
        names: of the F factors.
        world: its id.
    """

    observation: Float[Tensor, "E T1 O"]
    action: Float[Tensor, "E T A"]
    factors: Float[Tensor, "E T F"]
    length: Int[Tensor, " E"]
    terminated: Bool[Tensor, " E"]
    policy: tuple[str, ...]
    dt: float = 1.0
    names: tuple[str, ...] = ()
    world: str = ""

    def __post_init__(self) -> None:
        sizes = {
            len(getattr(self, n))
            for n in ("observation", "action", "factors", "length", "terminated", "policy")
        }
        if len(sizes) != 1 or self.observation.shape[1] != self.action.shape[1] + 1:
            raise ValueError(
                f"episodes need as many of everything, and one observation more than actions; got {sorted(sizes)} "
                f"episodes, {self.observation.shape[1]} observations and {self.action.shape[1]} actions."
            )

    def __len__(self) -> int:
        return len(self.length)

    def segments(self) -> Segments:
        """Whole episodes as options; the last observation is what they reached."""
        there = torch.arange(self.action.shape[1]) < self.length[:, None]
        return Segments(
            self.factors,
            None if bool(there.all()) else there,
            self.dt,
            self.observation[:, :-1],
            self.action,
            tuple(f"e{n:05d}" for n in range(len(self))),
            self.names,
            reached=self.observation[torch.arange(len(self)), self.length],
        )

    def cut(
        self, count: int, steps: int, seed: Seed
    ) -> tuple[Segments, Int[Tensor, " n"], Int[Tensor, " n"]]:
        """`count` pieces of `steps` steps from random places of random episodes; which episode, and from which step.

        Raises:
            ValueError: there is no episode that long.
        """
        able = (self.length >= steps).nonzero()[:, 0]
        if not len(able):
            raise ValueError(
                f"`steps` must be at most {int(self.length.max())}, the longest episode, got {steps}."
            )
        draw = torch.rand(2, count, generator=Streams.of(seed)("cut"), dtype=torch.float64)
        episode = able[(draw[0] * len(able)).long()]
        first = (draw[1] * (self.length[episode] - steps + 1)).long()
        at = first[:, None] + torch.arange(steps)
        take = lambda value: value[episode[:, None], at]
        ids = tuple(f"s{n:0{len(str(count - 1))}d}" for n in range(count))
        pieces = Segments(
            take(self.factors),
            None,
            self.dt,
            take(self.observation),
            take(self.action),
            ids,
            self.names,
            reached=self.observation[episode, first + steps],
        )
        return pieces, episode, first


def collect(
    world: World,
    policy: Policy,
    episodes: int,
    seed: Seed,
    *,
    random: Policy,
    part: float = 0.0,
    name: str = "",
) -> Episodes:
    """Episodes by a policy that acts at random a part of the time, in runs of five steps.

    Args:
        world: as for `PPO`.
        policy: who acts. random: who acts instead.
        part: of the runs that are random; 1 never asks `policy`.
        name: of the policy, kept with each episode.
    """
    streams = Streams.of(seed)
    rng, steps = np.random.default_rng(streams.number("act")), 0
    astray, held = np.zeros(episodes, dtype=bool), np.zeros(0)

    def act(observation: np.ndarray) -> np.ndarray:
        nonlocal astray, held, steps
        if steps % HELD == 0:
            astray, held = rng.random(episodes) < part, random.act(observation, generator=rng)
        steps += 1
        own = held if part >= 1 else policy.act(observation, generator=rng)
        return np.where(astray.reshape(-1, *(1,) * (own.ndim - 1)), held, own)

    env = made(world, episodes)
    try:
        with one_thread():
            seen = played(env, act, seed=streams.number("episodes") % 2**31, longest=100_000)
        names = tuple(getattr(env, "factor_names", ()))
        dt = _seconds(env)
    finally:
        env.close()
    length = seen["mask"].sum(1)
    last = seen["last"][:, None]
    observation = torch.cat([seen["observation"], last], 1).float()
    observation[torch.arange(episodes), length] = last[:, 0].float()
    return Episodes(
        observation,
        seen["action"].float(),
        seen["factors"].float(),
        length,
        seen["terminated"],
        (name,) * episodes,
        dt,
        names,
        world if isinstance(world, str) else "",
    )


def joined(parts: Sequence[Episodes]) -> Episodes:
    """All episodes of one world, one part after the other."""
    longest = max(part.action.shape[1] for part in parts)

    def stack(name: str) -> Tensor:
        extra = 1 if name == "observation" else 0
        rows = []
        for part in parts:
            value = getattr(part, name)
            short = longest + extra - value.shape[1]
            rows.append(torch.cat([value, value.new_zeros(len(value), short, value.shape[2])], 1))
        return torch.cat(rows)

    first = parts[0]
    return Episodes(
        stack("observation"),
        stack("action"),
        stack("factors"),
        torch.cat([part.length for part in parts]),
        torch.cat([part.terminated for part in parts]),
        tuple(name for part in parts for name in part.policy),
        first.dt,
        first.names,
        first.world,
    )


def write_minari(episodes: Episodes, folder: str | Path) -> Path:
    """A dataset folder as Minari lays it out: data/main_data.hdf5 and data/metadata.json.

    Each episode has observations (T + 1, O), actions (T, A), rewards (T,), terminations, truncations, and
    infos/factors (T + 1, F), whose first row, before any step, is zero. The world pays nothing: rewards are zero. Without
    h5py the same names stand in data/main_data.npz, which this package reads as well.

    Raises:
        FileExistsError: the folder exists.
    """
    folder = Path(folder)
    if folder.exists():
        raise FileExistsError(f"{folder} exists already; name a new folder or remove it.")
    data = folder / "data"
    data.mkdir(parents=True)
    arrays: dict[str, np.ndarray] = {}
    attributes: dict[str, dict[str, Any]] = {}
    for n in range(len(episodes)):
        steps, at = int(episodes.length[n]), f"episode_{n}"
        end = np.arange(steps) == steps - 1
        stopped = bool(episodes.terminated[n])
        factors = episodes.factors[n, :steps].numpy()
        arrays |= {
            f"{at}/observations": episodes.observation[n, : steps + 1].numpy(),
            f"{at}/actions": episodes.action[n, :steps].numpy(),
            f"{at}/rewards": np.zeros(steps),
            f"{at}/terminations": end & stopped,
            f"{at}/truncations": end & (not stopped),
            f"{at}/infos/factors": np.concatenate([np.zeros_like(factors[:1]), factors]),
        }
        attributes[at] = {"id": n, "total_steps": steps, "policy": episodes.policy[n]}
    about = {
        "total_episodes": len(episodes),
        "total_steps": int(episodes.length.sum()),
        "data_format": "hdf5" if _h5py() else "npz",
        "dataset_id": folder.name,
        "env_id": episodes.world,
        "factor_names": list(episodes.names),
        "seconds_per_step": episodes.dt,
        "policies": list(episodes.policy),
    }
    if _h5py():
        import h5py

        with h5py.File(data / "main_data.hdf5", "w") as file:
            for name, value in arrays.items():
                file[name] = value
            for name, held in attributes.items():
                file[name].attrs.update(held)
    else:
        np.savez_compressed(data / "main_data.npz", **arrays)  # type: ignore[arg-type]
    (data / "metadata.json").write_text(json.dumps(about, indent=1) + "\n", "utf-8")
    return folder


def read_minari(folder: str | Path) -> Episodes:
    """Episodes of a Minari dataset whose observations and actions are rows of numbers.

    Of a dataset from elsewhere the rewards become the one factor, "reward", and one step lasts one second.

    Raises:
        FileNotFoundError: there is no dataset.
        ImportError: it is HDF5, and h5py is not installed.
        ValueError: it holds no episodes, or observations that are no rows of numbers.
    """
    data = Path(folder) / "data"
    about = (
        json.loads((data / "metadata.json").read_text("utf-8")) if (data / "metadata.json").is_file() else {}
    )
    held = _arrays(data)
    count = sum(name.endswith("/actions") for name in held)
    if not count:
        raise ValueError(
            f"{folder} holds no episodes with rows of numbers; give a dataset without nested spaces."
        )
    found: list[dict[str, Any]] = [
        {name: held.get(f"episode_{n}/{name}") for name in _NAMES} for n in range(count)
    ]
    shapes = {
        (one["observations"].ndim, one["actions"].ndim) for one in found if one["observations"] is not None
    }
    if shapes - {(2, 2), (2, 1)} or any(one["observations"] is None for one in found):
        raise ValueError(
            f"{folder}: observations and actions must be rows of numbers; flatten the spaces first."
        )
    length = torch.tensor([len(one["actions"]) for one in found])
    longest = int(length.max())

    def padded(rows: list[np.ndarray], size: int) -> Tensor:
        flat = [np.asarray(row, dtype=np.float32).reshape(len(row), -1) for row in rows]
        return torch.from_numpy(np.stack([np.pad(row, ((0, size - len(row)), (0, 0))) for row in flat]))

    paid = [one["rewards"] if one["infos/factors"] is None else one["infos/factors"][1:] for one in found]
    return Episodes(
        padded([one["observations"] for one in found], longest + 1),
        padded([one["actions"] for one in found], longest),
        padded(paid, longest),
        length,
        torch.tensor([bool(one["terminations"].any()) for one in found]),
        tuple(about.get("policies", ("unknown",) * count)),
        float(about.get("seconds_per_step", 1.0)),
        tuple(about.get("factor_names", ("reward",))),
        str(about.get("env_id", "")),
    )


_NAMES = ("observations", "actions", "rewards", "terminations", "truncations", "infos/factors")


def _arrays(data: Path) -> dict[str, Any]:
    if (data / "main_data.npz").is_file():
        with np.load(data / "main_data.npz", allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    if not (data / "main_data.hdf5").is_file():
        raise FileNotFoundError(
            f"no dataset at {data.parent}; give a folder with data/main_data.hdf5 (or .npz)."
        )
    if not _h5py():
        raise ImportError(f"{data / 'main_data.hdf5'} needs the package h5py; install it.")
    import h5py

    found: dict[str, Any] = {}
    with h5py.File(data / "main_data.hdf5", "r") as file:
        file.visititems(
            lambda name, value: found.update({name: value[()]}) if hasattr(value, "dtype") else None
        )
    return found


def _h5py() -> bool:
    return importlib.util.find_spec("h5py") is not None


def _seconds(env: Any) -> float:
    """Simulated seconds of a step, where the environment tells."""
    world = getattr(env, "world", None)
    if world is None:
        return 1.0
    import mujoco

    return float(mujoco.MjModel.from_xml_string(world.mjcf).opt.timestep) * int(world.substeps)
