"""What to do where nothing can be rendered."""

import os

PACKAGES = {"osmesa": "libosmesa6"}


def no_graphics(cause: BaseException) -> str:
    """One sentence that names the package that is missing."""
    choice = os.environ.get("MUJOCO_GL", "").lower().strip()
    package = PACKAGES.get(choice, "libegl1 libgl1 libgl1-mesa-dri")
    fix = f"run `apt-get install {package}` " + ("or" if choice in PACKAGES else "and") + " set MUJOCO_GL=egl"
    why = " ".join(str(cause).split()).rstrip(".")
    return f"No graphics for rendering (MUJOCO_GL={choice or 'unset'!r}: {why}); on Debian or Ubuntu {fix}."
