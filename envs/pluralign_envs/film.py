"""Frames into an animated picture."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np


def save_film(frames: Sequence[np.ndarray], path: str | Path, *, fps: float) -> Path:
    """Write frames, each (height, width, 3) bytes, as an animated GIF that repeats.

    A GIF counts in hundredths of a second, so that speeds above 50 frames per second are shown at 50 by leaving
    frames out.

    Raises:
        ValueError: there are no frames, they differ in shape, or `path` does not end in .gif.
    """
    path = Path(path)
    if path.suffix != ".gif":
        raise ValueError(f"`path` must end in .gif, got {path.name!r}; other formats need a video encoder.")
    shapes = {np.shape(frame) for frame in frames}
    if len(shapes) != 1 or len(next(iter(shapes))) != 3:
        raise ValueError(f"`frames` must be pictures of one shape (height, width, 3), got {sorted(shapes)}.")
    if not fps > 0:
        raise ValueError(f"`fps` must be positive, got {fps}.")
    from PIL import Image

    keep = max(1, int(np.ceil(fps / 50)))
    pictures = [Image.fromarray(np.asarray(frame, dtype=np.uint8)) for frame in frames[::keep]]
    duration = round(1000 * keep / fps)
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=duration, loop=0)
    return path
