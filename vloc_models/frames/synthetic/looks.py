"""The four looks of a world: the light, and what the season and the palette recolour."""

from dataclasses import dataclass, field
from typing import Literal, get_args

RGB = tuple[float, float, float]
LookName = Literal['day', 'evening', 'night', 'winter']
LOOK_NAMES: tuple[LookName, ...] = get_args(LookName)


@dataclass(frozen=True)
class Look:
    """Light in arbitrary linear units (the camera's exposure adapts), and colour gains."""

    lamp: RGB  # radiant power of one lamp
    sky: RGB  # radiance seen through a window
    sun: RGB = (0, 0, 0)  # irradiance on a surface facing the sun
    sun_azimuth_deg: float = 0  # where it stands, from the map's x axis
    sun_elevation_deg: float = 45
    screen: float = 1.0  # radiance of a lit screen's white
    palette: dict[str, RGB] = field(default_factory=dict)  # gain by Texture.kind


LOOKS: dict[LookName, Look] = {
    'day': Look(
        lamp=(4, 4, 3.9),
        sky=(6, 6.3, 6.7),
        sun=(30, 28, 25),
        sun_azimuth_deg=65,
        sun_elevation_deg=42,
    ),
    'evening': Look(
        lamp=(6, 5, 3.6),
        sky=(2.4, 1.7, 1.4),
        sun=(14, 8, 3.5),
        sun_azimuth_deg=-72,
        sun_elevation_deg=14,
        palette={'outside': (1, 0.75, 0.6)},
    ),
    'night': Look(
        lamp=(1.3, 1.05, 0.7), sky=(0.01, 0.012, 0.02), palette={'outside': (0.5, 0.6, 0.9)}
    ),
    'winter': Look(
        lamp=(4, 4.1, 4.2),
        sky=(5, 5.6, 6.4),
        palette={
            'leaf': (1.5, 0.75, 0.5),
            'outside': (1.15, 1.2, 1.3),
            'cloth': (1.1, 0.85, 0.8),
            'wall': (0.93, 0.97, 1.05),
        },
    ),
}
