"""Short films of policies side by side."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pluralign.lab.beds import Bed
from pluralign.policies.learner import Policy

WIDTH, HEIGHT, STRIP = 256, 192, 20  # pixels of one picture, and of its title
MOST = 60  # pictures of a film


def film(bed: Bed, policies: Mapping[str, Policy], folder: Path, seed: int) -> str | None:
    """Write film.gif, and film.mp4 where there is ffmpeg: every policy from the same first state, side by side.

    Returns:
        why there is no film, where nothing can be rendered; None if there is one.
    """
    from pluralign_envs import save_film

    try:
        shots = [frames(bed, policy, seed) for policy in policies.values()]
    except RuntimeError as problem:  # no graphics; the message names the package
        return str(problem)
    pictures, fps = [rows for rows, _ in shots], shots[0][1]
    longest = max(len(rows) for rows in pictures)
    beside = [
        np.concatenate(
            [titled(rows[min(t, len(rows) - 1)], name) for name, rows in zip(policies, pictures)], 1
        )
        for t in range(longest)
    ]
    save_film(beside, folder / "film.gif", fps=fps)
    try:
        save_film(beside, folder / "film.mp4", fps=fps)
    except ImportError:
        (folder / "film.mp4").unlink(missing_ok=True)
    return None


def frames(bed: Bed, policy: Policy, seed: int) -> tuple[list[np.ndarray], float]:
    """Pictures (HEIGHT, WIDTH, 3) of an episode, `MOST` at most, and how many of them are a second."""
    import gymnasium
    import pluralign_envs  # noqa: F401 - registers the worlds
    from PIL import Image

    env: Any = gymnasium.make(bed.world, render_mode="rgb_array")
    generator = np.random.default_rng(seed)
    try:
        observation, _ = env.reset(seed=seed % 2**31)
        every = -(-env.spec.max_episode_steps // MOST)
        out, done, step = [], False, 0
        while not done:
            if step % every == 0:
                picture = Image.fromarray(env.render()).resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
                out.append(np.asarray(picture))
            action = policy.act(observation[None], generator=generator)[0]
            observation, _, terminated, truncated, _ = env.step(action)
            done, step = terminated or truncated, step + 1
        return out, env.metadata.get("render_fps", env.unwrapped.metadata["render_fps"]) / every
    finally:
        env.close()


def titled(picture: np.ndarray, title: str) -> np.ndarray:
    """The picture under a strip with a title."""
    from PIL import Image, ImageDraw

    strip = Image.new("RGB", (picture.shape[1], STRIP), "white")
    ImageDraw.Draw(strip).text((6, 4), title, fill=(31, 41, 51))
    return np.concatenate([np.asarray(strip), picture])
