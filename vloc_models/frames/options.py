"""What of a recording is read, and how: the options of every command that takes a bag."""

import math
from dataclasses import dataclass
from pathlib import Path

from vloc_models.errors import BagError

_FOREVER_S = 1e8  # three years: in nanoseconds it still is a stamp, ten times over


@dataclass(frozen=True)
class BagOptions:
    """Which topics, frames and poses to use; the defaults find them in the bag and say so."""

    image_topics: tuple[str, ...] = ()
    """Image topics, one a camera; the first is the one accuracy is measured at. Empty: found."""
    depth_topics: tuple[str, ...] = ()
    """Depth topics, one an image topic ("none" for a camera without). Empty: found."""
    label_topics: tuple[str, ...] = ()
    """Topics with semantic classes, one an image topic ("none" for without). Empty: found."""
    camera_info_topics: tuple[str, ...] = ()
    """CameraInfo topics, one an image topic. Empty: found."""
    camera: Path | None = None
    """A calibration file (yaml of camera_calibration) to use in place of camera_info."""
    poses: str = 'auto'
    """Where poses in the map come from: auto, truth (a ground-truth topic first), tf, a topic,
    a TUM file, or none."""
    pose_frame: str = ''
    """The frame whose pose a pose topic or TUM file holds. Empty: told by the messages, else the
    base frame."""
    odom: str = 'auto'
    """Where odometry comes from: auto, tf, a topic, or none."""
    map_frame: str = 'map'
    """The fixed frame of the map."""
    odom_frame: str = 'odom'
    """The frame odometry is told in."""
    base_frame: str = 'base_link'
    """The robot's body. Empty, or not in the bag: the first camera is the body."""
    max_gap_s: float = 0.5
    """Between two poses further apart in time there is none (ten times this for map->odom, which
    follows drift, not motion)."""
    sync_s: float = 0.02
    """Images and depth of one moment differ by no more than this."""
    start_s: float = 0.0
    """Skip this much from the first image on."""
    duration_s: float | None = None
    """Read no more than this much."""
    every: int = 1
    """Use every n-th frame."""
    focal_px: float = 525.0
    """Focal length of a 7-Scenes folder, which has no calibration."""

    def __post_init__(self) -> None:
        wrong = [
            name
            for name, bad in {
                'max_gap_s': not 0 < self.max_gap_s <= _FOREVER_S,
                'sync_s': not 0 <= self.sync_s <= _FOREVER_S,
                'start_s': not 0 <= self.start_s <= _FOREVER_S,
                'duration_s': self.duration_s is not None
                and not 0 < self.duration_s <= _FOREVER_S,
                'every': self.every < 1,
                'focal_px': not 0 < self.focal_px < math.inf,
            }.items()
            if bad
        ]
        if wrong:
            values = ', '.join(f'{name}={getattr(self, name)}' for name in wrong)
            raise BagError(
                f'bag options: {values} makes no sense', 'give a positive, finite number'
            )

    @property
    def max_gap_ns(self) -> int:
        """``max_gap_s`` in nanoseconds."""
        return round(self.max_gap_s * 1e9)

    @property
    def sync_ns(self) -> int:
        """``sync_s`` in nanoseconds."""
        return round(self.sync_s * 1e9)
