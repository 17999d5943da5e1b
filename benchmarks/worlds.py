"""Steps per second of every world: `python benchmarks/worlds.py [rounds] [world ...]`.

In one run and by turns, on one machine: MuJoCo's rollout alone (physics and state, nothing observed), our vector
environment with 0 and 2 threads, the same paid by four voices (`VectorRewardWrapper`), gymnasium's SyncVectorEnv of our single environment, and, where gymnasium has an
environment of the same model, its SyncVectorEnv of that (needs imageio). One thread is timed by the processor's
clock, two by the wall's, which other jobs on the machine disturb. Ratios are taken within a round, so that
another job on the machine slows both sides; the table has the median of the rounds and their extremes.
Merges what it measures into benchmarks/results/worlds.json, with the load of the machine then.
"""

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import gymnasium
import numpy as np
import pluralign_envs
from pluralign_envs.physics import Physics

HERE = Path(__file__).resolve().parent
PEERS = {
    "pluralign/Cheetah-v0": "HalfCheetah-v5",
    "pluralign/Walker-v0": "Walker2d-v5",
    "pluralign/Ant-v0": "Ant-v5",
}
COPIES = 64
LEAST = 0.2  # seconds per measurement


def rollout(id: str, nthread: int) -> Callable[[np.ndarray], Any]:
    world = pluralign_envs.make_world(id)
    physics = Physics(world, COPIES, nthread)
    physics.place(np.arange(COPIES), *world.start(np.random.default_rng(0).random((COPIES, world.draws))))
    return physics.step


def ours(id: str, nthread: int) -> Callable[[np.ndarray], Any]:
    envs = gymnasium.make_vec(id, num_envs=COPIES, vectorization_mode="vector_entry_point", nthread=nthread)
    envs.reset(seed=0)
    return envs.step


def paid(id: str) -> Callable[[np.ndarray], Any]:
    import torch

    from pluralign.rewards import VectorRewardWrapper, known_voices

    torch.set_num_threads(1)
    envs: Any = gymnasium.make_vec(id, num_envs=COPIES, vectorization_mode="vector_entry_point", nthread=0)
    tastes = np.random.default_rng(2).normal(size=(4, len(envs.unwrapped.factor_names)))
    envs = VectorRewardWrapper(envs, known_voices(tastes.tolist()))
    envs.reset(seed=0)
    return envs.step


def sync(id: str) -> Callable[[np.ndarray], Any]:
    envs = gymnasium.make_vec(id, num_envs=COPIES, vectorization_mode="sync")
    envs.reset(seed=0)
    return envs.step


def rate(step: Callable[[np.ndarray], Any], actions: np.ndarray, clock: Callable[[], float]) -> float:
    """Steps of one copy per second of `clock`."""
    begun, done = clock(), 0
    while (spent := clock() - begun) < LEAST:
        step(actions[done % len(actions)])
        done += 1
    return done * COPIES / spent


def measure(id: str, rounds: int) -> dict[str, Any]:
    runs = {
        "rollout": rollout(id, 0),
        "rollout, 2 threads": rollout(id, 2),
        "batch": ours(id, 0),
        "batch, 2 threads": ours(id, 2),
        "batch, paid": paid(id),
        "single copies": sync(id),
    }
    if id in PEERS:
        try:
            runs["gymnasium"] = sync(PEERS[id])
        except ImportError as problem:
            print(f"{PEERS[id]} is left out: {problem}")
    single = gymnasium.make(id).action_space
    actions = (
        np.random.default_rng(1)
        .uniform(single.low, single.high, (50, COPIES, *single.shape))
        .astype(np.float32)
    )
    seen: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, step in runs.items():
            clock = time.perf_counter if "threads" in name else time.process_time
            seen[name].append(rate(step, actions, clock))
    pairs = {
        "batch / rollout": ("batch", "rollout"),
        "batch / rollout, 2 threads": ("batch, 2 threads", "rollout, 2 threads"),
        "batch, paid / batch": ("batch, paid", "batch"),
        "batch / single copies": ("batch", "single copies"),
        "batch / gymnasium": ("batch", "gymnasium"),
    }
    ratios = {
        name: sorted(x / y for x, y in zip(seen[a], seen[b], strict=True))
        for name, (a, b) in pairs.items()
        if b in seen
    }
    return {
        "steps per second": {name: round(statistics.median(found)) for name, found in seen.items()},
        "ratio": {
            name: [round(v, 2) for v in (statistics.median(r), r[0], r[-1])] for name, r in ratios.items()
        },
    }


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    path = HERE / "results" / "worlds.json"
    kept = json.loads(path.read_text("utf-8"))["worlds"] if path.is_file() else {}
    for id in sys.argv[2:] or pluralign_envs.catalogue.WORLDS:
        load = [round(v, 1) for v in os.getloadavg()]
        kept[id] = {"rounds": rounds, "load": load, **measure(id, rounds)}
        told = ", ".join(
            f"{name} {m} ({low} to {high})" for name, (m, low, high) in kept[id]["ratio"].items()
        )
        print(f"{id}: {kept[id]['steps per second']['batch']:,} steps/s; {told}", flush=True)
        result = {
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "copies": COPIES,
            "worlds": kept,
        }
        path.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
