"""Gymnasium's own MuJoCo models, made fit for batches and for pictures without shadows."""

from pathlib import Path
from xml.etree import ElementTree

import gymnasium

ASSETS = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets"


def gymnasium_model(file: str) -> str:
    """The model in `file` without warm starts, with names for bodies and motors, and frames of 640 by 480."""
    root = ElementTree.parse(ASSETS / file).getroot()
    option = root.find("option")
    assert option is not None
    ElementTree.SubElement(option, "flag", warmstart="disable")
    visual = ElementTree.SubElement(root, "visual")
    ElementTree.SubElement(visual, "global", offwidth="640", offheight="480")
    ElementTree.SubElement(visual, "quality", shadowsize="0", offsamples="0")
    for light in root.iter("light"):
        light.set("castshadow", "false")
    for material in root.iter("material"):
        material.attrib.pop("reflectance", None)  # a mirror draws the scene twice
    for body in root.iter("body"):
        body.set("name", body.get("name") or f"{body.find('joint').get('name')}_body")  # type: ignore[union-attr]
    for motor in root.iter("motor"):
        if "joint" in motor.attrib:  # defaults for motors have none
            motor.set("name", motor.get("name") or motor.get("joint", ""))
    return ElementTree.tostring(root, encoding="unicode")
