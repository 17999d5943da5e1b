"""Frames of a model without a display."""

import atexit
import os
import sys

import mujoco
import numpy as np

from pluralign_envs.graphics import no_graphics


class Camera:
    """Takes frames through a named camera of the model.

    Not mujoco.Renderer: that picks its graphics library when mujoco is first imported, which is before
    anybody asked for a picture.
    """

    def __init__(self, model: mujoco.MjModel, name: str) -> None:
        self._model, self._data = model, mujoco.MjData(model)
        self._view = mujoco.MjvCamera()
        self._view.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._view.fixedcamid = model.camera(name).id
        size = model.vis.global_
        self._rect = mujoco.MjrRect(0, 0, size.offwidth, size.offheight)
        self._graphics = _context(size.offwidth, size.offheight)
        self._graphics.make_current()
        self._scene, self._option = mujoco.MjvScene(model, maxgeom=1000), mujoco.MjvOption()
        try:
            self._target = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
        except mujoco.FatalError as cause:  # GLFW without a display makes a context that is none
            raise RuntimeError(no_graphics(cause)) from cause
        atexit.register(self.close)  # before the graphics library tears itself down
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._target)

    def frame(self, qpos: np.ndarray) -> np.ndarray:
        """(height, width, 3) bytes."""
        self._graphics.make_current()
        self._data.qpos[:] = qpos
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_comPos(self._model, self._data)  # cameras that follow look at the centre of mass
        mujoco.mj_camlight(self._model, self._data)
        everything = mujoco.mjtCatBit.mjCAT_ALL.value
        mujoco.mjv_updateScene(
            self._model, self._data, self._option, None, self._view, everything, self._scene
        )
        mujoco.mjr_render(self._rect, self._scene, self._target)
        pixels = np.empty((self._rect.height, self._rect.width, 3), dtype=np.uint8)
        mujoco.mjr_readPixels(pixels, None, self._rect, self._target)
        return np.flipud(pixels).copy()  # OpenGL counts rows from the bottom

    def close(self) -> None:
        atexit.unregister(self.close)
        self._target.free()
        self._graphics.free()


def _context(width: int, height: int):
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        os.environ.setdefault("MUJOCO_GL", "egl")
    choice = os.environ.get("MUJOCO_GL", "").lower().strip()
    try:
        if choice == "egl":
            from mujoco.egl import GLContext
        elif choice == "osmesa":
            from mujoco.osmesa import GLContext
        elif sys.platform == "darwin":
            from mujoco.cgl import GLContext
        else:
            from mujoco.glfw import GLContext
        return GLContext(width, height)
    # PyOpenGL reports a missing library as AttributeError, a missing device as ImportError.
    except (ImportError, AttributeError, OSError, RuntimeError) as cause:
        raise RuntimeError(no_graphics(cause)) from cause
