"""A page with a picture of every world, and what its factors measure."""

import base64
import io
from pathlib import Path

from pluralign.lab.beds import BEDS
from pluralign.lab.report import Report, code, picture, table

STEPS = 25  # of random actions before the picture is taken


def write_page(path: Path) -> Path:
    """Write the page; where nothing can be rendered it says why, once.

    Raises:
        FileExistsError: the file exists.
    """
    from pluralign_envs.catalogue import WORLDS

    if path.exists():
        raise FileExistsError(f"{path} exists already; name a new file or remove it.")
    report = Report(
        "Worlds", "What people may disagree about. Factors are measured every step; raters own all values."
    )
    shown = True
    for name, bed in BEDS.items():
        world = WORLDS[bed.world]
        drawn: list[str] = []
        if shown:
            try:
                drawn = [picture(_frame(bed.world), world.summary, wide=False)]
            except RuntimeError as problem:  # no graphics; the message names the package
                shown, drawn = False, [str(problem)]
        rows = [
            [factor.name, factor.unit, factor.description, _role(name, factor.name)]
            for factor in world.factors
        ]
        report.section(
            name,
            *(drawn or [world.summary]),
            table(["factor", "unit", "what it measures", "in experiments"], rows),
            code(f'gymnasium.make("{bed.world}")\npluralign experiment {name}'),
        )
    return report.write(path)


def _role(name: str, factor: str) -> str:
    here = BEDS[name]
    return "people differ" if factor in here.goals else "all mind it" if factor in here.costs else ""


def _frame(world: str) -> str:
    """A data: address of a picture after some random steps, always the same."""
    import gymnasium
    import pluralign_envs  # noqa: F401 - registers the worlds
    from PIL import Image

    env = gymnasium.make(world, render_mode="rgb_array")
    try:
        env.reset(seed=0)
        env.action_space.seed(0)
        for _ in range(STEPS):
            env.step(env.action_space.sample())
        out = io.BytesIO()
        Image.fromarray(env.render()).save(out, "PNG")  # type: ignore[arg-type]
    finally:
        env.close()
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()
