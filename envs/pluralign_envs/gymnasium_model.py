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
        joint = body.find("joint")
        if "name" not in body.attrib and joint is not None:
            body.set("name", f"{joint.attrib['name']}_body")
    for motor in root.iter("motor"):
        if "joint" in motor.attrib:  # the defaults for motors have none
            motor.set("name", motor.get("name", motor.attrib["joint"]))
    return ElementTree.tostring(root, encoding="unicode")
