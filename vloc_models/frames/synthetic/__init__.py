"""Seeded indoor worlds, rendered to pictures with exact depth, labels and poses."""

from vloc_models.frames.synthetic.labels import VOID, Label
from vloc_models.frames.synthetic.motion import DriveSpec
from vloc_models.frames.synthetic.sensor import SensorSpec
from vloc_models.frames.synthetic.source import SyntheticSource, SyntheticSpec
from vloc_models.frames.synthetic.world import WorldSpec

__all__ = [
    'VOID',
    'DriveSpec',
    'Label',
    'SensorSpec',
    'SyntheticSource',
    'SyntheticSpec',
    'WorldSpec',
]
