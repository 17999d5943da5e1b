"""Frames into an animated picture or a film."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np


def save_film(frames: Sequence[np.ndarray], path: str | Path, *, fps: float) -> Path:
    """Write frames, each (height, width, 3) bytes, as an animated GIF that repeats, or as MP4 by ffmpeg.

    A GIF counts in hundredths of a second, so that speeds above 50 frames per second are shown at 50 by leaving
    frames out.

    Raises:
        ValueError: there are no frames, they differ in shape, or `path` ends in neither .gif nor .mp4.
        ImportError: an MP4 is wanted, and there is no ffmpeg.
    """
    path = Path(path)
    if path.suffix not in (".gif", ".mp4"):
        raise ValueError(f"`path` must end in .gif or .mp4, got {path.name!r}.")
    shapes = {np.shape(frame) for frame in frames}
    if len(shapes) != 1 or len(next(iter(shapes))) != 3:
        raise ValueError(f"`frames` must be pictures of one shape (height, width, 3), got {sorted(shapes)}.")
    if not fps > 0:
        raise ValueError(f"`fps` must be positive, got {fps}.")
    pictures = [np.ascontiguousarray(frame, dtype=np.uint8) for frame in frames]
    path.parent.mkdir(parents=True, exist_ok=True)
    (_gif if path.suffix == ".gif" else _mp4)(pictures, path, fps)
    return path


def _gif(frames: list[np.ndarray], path: Path, fps: float) -> None:
    from PIL import Image

    keep = max(1, int(np.ceil(fps / 50)))
    first, *rest = [Image.fromarray(frame) for frame in frames[::keep]]
    first.save(path, save_all=True, append_images=rest, duration=round(1000 * keep / fps), loop=0)


def _mp4(frames: list[np.ndarray], path: Path, fps: float) -> None:
    height, width, _ = frames[0].shape
    command = [encoder(), "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24"]
    command += ["-s", f"{width}x{height}", "-r", f"{fps:.6g}", "-i", "-"]
    # Players want even sides and this pixel format.
    command += ["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-pix_fmt", "yuv420p", str(path)]
    done = subprocess.run(
        command, input=b"".join(f.tobytes() for f in frames), capture_output=True, check=False
    )
    if done.returncode:
        raise ValueError(f"ffmpeg could not write {path}: {done.stderr.decode(errors='replace').strip()}")


def encoder() -> str:
    """Where ffmpeg is: on the path, or in the package imageio-ffmpeg.

    Raises:
        ImportError: it is nowhere.
    """
    found = shutil.which("ffmpeg")
    if found:
        return found
    try:
        from imageio_ffmpeg import get_ffmpeg_exe

        return str(get_ffmpeg_exe())
    except (ImportError, RuntimeError):
        raise ImportError(
            "an MP4 needs ffmpeg, which is not here; `pip install imageio-ffmpeg`, or write a .gif."
        ) from None
