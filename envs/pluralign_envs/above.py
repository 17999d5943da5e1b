"""Models on a flat table or floor that is seen from above."""

import numpy as np

CAMERA = "above"


def seen_from_above(
    name: str,
    *,
    timestep: float,
    width: float,
    height: float,
    bodies: str,
    motors: dict[str, tuple[str, float]],
) -> str:
    """MJCF of a floor of `width` by `height` metres with `bodies` on it, without gravity and friction.

    Args:
        timestep: seconds.
        bodies: MJCF elements of the worldbody.
        motors: name of each -> the joint it drives and its force at full command, newtons or newton metres.
    """
    fovy = np.degrees(2 * np.arctan(max(width * 480 / 640, height) / 2 / (4 * width)))
    actuators = "\n".join(
        f'<motor name="{motor}" joint="{joint}" gear="{gear:.6g}" ctrllimited="true" ctrlrange="-1 1"/>'
        for motor, (joint, gear) in motors.items()
    )
    # No friction (condim 1), no gravity: an air table. Shadows would slow rendering 35 times. With few moving
    # bodies, the midphase tree and constraint islands cost more than they save (a fifth).
    return f"""
<mujoco model="{name}">
  <option timestep="{timestep}" gravity="0 0 0">
    <flag warmstart="disable" midphase="disable" island="disable"/>
  </option>
  <statistic center="0 0 0" extent="{width:.6g}"/>
  <visual>
    <global offwidth="640" offheight="480"/>
    <headlight ambient=".55 .55 .55" diffuse=".4 .4 .4" specular="0 0 0"/>
    <quality shadowsize="0" offsamples="0"/>
  </visual>
  <default><geom condim="1"/></default>
  <worldbody>
    <camera name="{CAMERA}" pos="0 0 {4 * width:.6g}" fovy="{fovy:.6g}"/>
    <geom name="floor" type="plane" size="{width / 2:.6g} {height / 2:.6g} .1" rgba=".93 .93 .9 1"
          contype="0" conaffinity="0"/>
    {bodies}
  </worldbody>
  <actuator>
    {actuators}
  </actuator>
</mujoco>"""


def fence(width: float, height: float, thick: float) -> str:
    """Four walls around a floor of `width` by `height` metres, inside its edge, `thick` metres each."""
    half, x, y = thick / 2, width / 2 - thick / 2, height / 2 - thick / 2
    sides = {
        "west": (-x, 0.0, half, height / 2),
        "east": (x, 0.0, half, height / 2),
        "south": (0.0, -y, width / 2, half),
        "north": (0.0, y, width / 2, half),
    }
    return "\n".join(
        f'<geom name="{side}" type="box" pos="{cx:.6g} {cy:.6g} {half:.6g}" '
        f'size="{dx:.6g} {dy:.6g} {half:.6g}" rgba=".35 .38 .45 1"/>'
        for side, (cx, cy, dx, dy) in sides.items()
    )


def disc(name: str, x: float, y: float, radius: float, colour: str) -> str:
    """A coloured place on the floor that nothing collides with."""
    return (
        f'<body name="{name}" pos="{x:.6g} {y:.6g} .001"><geom name="{name}" type="cylinder" '
        f'size="{radius:.6g} .002" rgba="{colour}" contype="0" conaffinity="0"/></body>'
    )
