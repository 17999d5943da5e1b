"""Run folders: what was asked, what came out, and enough to go on after a stop.

    run = Run.open("runs/maze", config)
    answers = run.stage("answers", lambda stage: ...)     # done once; read from the folder ever after
    run.finish()

A stage is a function of a `Stage`: it may write files into `stage.folder`, record numbers, and returns something
that JSON can hold. It appears complete or not at all, so a stop loses the running stage at most.
"""

import contextlib
import importlib.metadata
import json
import math
import os
import platform
import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pluralign import __version__

FORMAT = 1
_LIBRARIES = ("numpy", "scipy", "torch", "pandas", "pyarrow", "matplotlib", "pyro-ppl", "gymnasium", "mujoco", "stable-baselines3")  # fmt: skip
_NAMES = ("name", "group", "seed", "step", "value", "standard_error")


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all: under a temporary name, then renamed."""
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"{path.parent} does not exist; make it first, or name another place than {path}."
        )
    half = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        half.write_text(text, "utf-8")
        half.replace(path)
    finally:
        half.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write JSON whole or not at all; numbers that are no numbers become null."""
    write_text(path, json.dumps(_plain(value), indent=1, allow_nan=False) + "\n")


@dataclass
class Stage:
    """A piece of work in the making.

    Attributes:
        folder: to write files into; it takes its place in the run once the stage is done.
        records: what `record` was told.
    """

    folder: Path
    records: list[dict[str, Any]] = field(default_factory=list)

    def record(
        self,
        name: str,
        value: float | int,
        *,
        group: str = "",
        seed: int | None = None,
        step: int | None = None,
        standard_error: float | int | None = None,
    ) -> None:
        """A number for metrics.jsonl."""
        row = (name, group, seed, step, value, standard_error)
        self.records.append(dict(zip(_NAMES, row, strict=True)))


@dataclass
class Run:
    """A run folder: config.json, versions.txt, stages/, and once finished metrics.jsonl and whatever was written.

    Attributes:
        folder: where.
        config: what was asked; with the same code it gives the same results.
        resumed: whether the folder was there before.
    """

    folder: Path
    config: dict[str, Any]
    resumed: bool = False
    _loose: Stage | None = None

    @staticmethod
    def open(folder: str | Path, config: Mapping[str, Any], overwrite: bool = False) -> "Run":
        """Begin a run, or go on with one of equal config.

        Args:
            folder: of the run.
            config: what is asked, as JSON can hold it.
            overwrite: put away a run of another config, or of another version.

        Raises:
            FileExistsError: the folder holds something else, or a run of another config.
            ValueError: the run is of another version, or damaged.
        """
        folder = Path(folder)
        asked = {"format": FORMAT, "version": __version__, **_plain(dict(config))}
        if overwrite and folder.exists():
            _remove(folder)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            found = read_config(folder)
            if found.get("version") != __version__:
                raise ValueError(
                    f"{folder} was begun by pluralign {found.get('version')}, this is {__version__}, and their "
                    "numbers should not be mixed; name a new folder or give --overwrite."
                )
            # A setting that came later and is not given is no difference.
            keys = [k for k in {**asked, **found} if found.get(k) != asked.get(k)]
            if keys:
                told = f"{keys[0]} was {_short(found.get(keys[0]))} and is now {_short(asked.get(keys[0]))}"
                raise FileExistsError(
                    f"{folder} holds a run of another config ({told}); name a new folder or give --overwrite."
                )
            for left in (folder / "stages").glob(".*.part"):
                shutil.rmtree(left, ignore_errors=True)
            return Run(folder, asked, resumed=True)
        run = Run(folder, asked)
        try:
            (folder / "stages").mkdir(parents=True, exist_ok=True)
            write_text(folder / "versions.txt", versions())
            write_json(folder / "config.json", asked)  # last: a folder with a config is a run
        except BaseException:
            run.forget()
            raise
        return run

    def done(self, name: str) -> bool:
        """Whether this stage is finished."""
        return (self.folder / "stages" / name / "result.json").is_file()

    def stage(self, name: str, work: Callable[[Stage], Any]) -> Any:
        """The result of `work`, from the folder where it was done before.

        Args:
            name: of the stage, a file name.
            work: gets a `Stage`, returns what JSON can hold.
        """
        place = self.folder / "stages" / name
        if self.done(name):
            return json.loads((place / "result.json").read_text("utf-8"))
        half = place.with_name(f".{name}.part")
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(parents=True)
        try:
            stage = Stage(half)
            result = _plain(work(stage))
            if stage.records:
                write_text(half / "metrics.jsonl", _lines(stage.records))
            write_json(half / "result.json", result)
            half.rename(place)
        finally:
            shutil.rmtree(half, ignore_errors=True)
        return result

    def forget(self) -> None:
        """Take away a run that was just begun and got nowhere: bad input leaves nothing behind."""
        if self.resumed:
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.folder.parent.rmdir()  # only where it is empty

    def files(self, name: str) -> Path:
        """The folder of a finished stage."""
        return self.folder / "stages" / name

    def record(self, name: str, value: float | int, **more: Any) -> None:
        """A number for metrics.jsonl that belongs to no stage; see `Stage.record`."""
        self._loose = self._loose or Stage(self.folder)
        self._loose.record(name, value, **more)

    def finish(self) -> Path:
        """Write metrics.jsonl: what the stages recorded, in the order they were done, then the rest."""
        every = sorted(
            (self.folder / "stages").glob("*/metrics.jsonl"), key=lambda path: path.stat().st_mtime_ns
        )
        text = "".join(path.read_text("utf-8") for path in every)
        if self._loose is not None:
            text += _lines(self._loose.records)
        write_text(self.folder / "metrics.jsonl", text)
        return self.folder


def read_config(folder: str | Path) -> dict[str, Any]:
    """The config of a run.

    Raises:
        FileNotFoundError: there is no such folder.
        FileExistsError: the folder is something else than a run.
        ValueError: the run is damaged, or of another format.
    """
    folder = Path(folder)
    if not folder.exists():
        raise FileNotFoundError(
            f"{folder} does not exist; give a run folder, as `pluralign fit` or `pluralign leaderboard` writes one."
        )
    if not folder.is_dir():
        raise FileExistsError(f"{folder} should be a run folder, it is a file; name the folder it is in.")
    if not (folder / "config.json").is_file():
        raise FileExistsError(
            f"{folder} holds files and is no run (config.json is missing); name another folder."
        )
    try:
        found = json.loads((folder / "config.json").read_text("utf-8"))
        version = found["format"]
    except (ValueError, KeyError, TypeError):
        raise ValueError(
            f"{folder}/config.json is damaged; name another folder or give --overwrite."
        ) from None
    if version != FORMAT:
        raise ValueError(
            f"{folder} is a run of format {version}, pluralign {__version__} reads format {FORMAT}; run it again in a "
            "new folder, or give --overwrite."
        )
    return dict(found)


def versions() -> str:
    """Python, the platform and the libraries, one per line."""
    lines = [
        f"pluralign {__version__}",
        f"python {platform.python_version()}",
        f"platform {platform.platform()}",
    ]
    for name in _LIBRARIES:
        try:
            lines.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return "\n".join([*lines, f"threads {os.environ.get('OMP_NUM_THREADS', 'default')}"]) + "\n"


def _remove(folder: Path) -> None:
    """Remove a run, and nothing that is not one."""
    known = folder.is_dir() and ((folder / "config.json").is_file() or not any(folder.iterdir()))
    if not known:
        raise FileExistsError(
            f"{folder} is no run (config.json is missing), so it is not replaced; name another."
        )
    shutil.rmtree(folder)


def _lines(records: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(_plain(row), allow_nan=False) + "\n" for row in records)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) < 60 else text[:57] + "..."


def _plain(value: Any) -> Any:
    """What JSON can hold: paths as texts, tuples as lists, NaN and infinity as null."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "item"):  # a number of numpy or torch
        return _plain(value.item())
    raise TypeError(f"a run can hold numbers, texts, lists and dictionaries, not {type(value).__name__}.")
