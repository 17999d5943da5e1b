"""N copies of one MuJoCo model, advanced together by MuJoCo's own rollout: no Python loop over copies."""

import numpy as np

try:
    import mujoco
except (AttributeError, RuntimeError) as cause:  # where MUJOCO_GL is set, it looks for graphics at once
    from pluralign_envs.graphics import no_graphics

    raise ImportError(no_graphics(cause)) from cause
from mujoco.rollout import Rollout

from pluralign_envs.world import World


class Physics:
    """The states of N copies. A single environment is a batch of one, hence bitwise equal to a batch."""

    def __init__(self, world: World, copies: int, nthread: int) -> None:
        self.model = mujoco.MjModel.from_xml_string(world.mjcf)
        state = mujoco.mj_stateSize(self.model, mujoco.mjtState.mjSTATE_FULLPHYSICS.value)
        nq, nv = self.model.nq, self.model.nv
        if state != 1 + nq + nv:
            raise ValueError(
                f"A world's state must be time, qpos and qvel ({1 + nq + nv} numbers), but this model has "
                f"{state}; remove actuator activations, history buffers and plugins from its MJCF."
            )
        self._state = np.zeros((copies, state))
        self._path = np.zeros((copies, world.substeps, state))
        self._sensors = np.zeros((copies, world.substeps, self.model.nsensordata))
        self._control = np.zeros((copies, world.substeps, self.model.nu))
        # Unchecked rollouts want a model per copy, and an MjData per thread.
        self._models = [self.model] * copies
        self._data = [mujoco.MjData(self.model) for _ in range(max(nthread, 1))]
        self._rollout = Rollout(nthread=nthread)
        self.qpos = self._state[:, 1 : 1 + nq]  # views: they follow every step
        self.qvel = self._state[:, 1 + nq :]

    @property
    def seconds(self) -> float:
        """Simulated time of one environment step."""
        return float(self.model.opt.timestep) * self._path.shape[1]

    def place(self, copies: np.ndarray, qpos: np.ndarray, qvel: np.ndarray) -> None:
        self._state[copies, 0] = 0
        self.qpos[copies], self.qvel[copies] = qpos, qvel

    def step(self, control: np.ndarray) -> np.ndarray:
        """Advance all copies; (N,) whether a copy's simulation became unstable. Those stay where they were."""
        self._control[:] = control[:, None]
        self._rollout.rollout(
            self._models,
            self._data,
            self._state,
            self._control,
            nstep=self._path.shape[1],
            state=self._path,
            sensordata=self._sensors,
            skip_checks=True,
        )
        # MuJoCo restarts an unstable simulation at time 0, which the clock gives away.
        late = self._path[:, -1, 0] - self._state[:, 0]
        lost = np.abs(late - self.seconds) > self.model.opt.timestep / 2
        if lost.any():
            self._state[~lost] = self._path[~lost, -1]
        else:
            self._state[:] = self._path[:, -1]
        return lost

    def close(self) -> None:
        self._rollout.close()
