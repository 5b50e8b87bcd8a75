"""Some frames of a recording: a part of a place, or what is not asked for."""

from collections.abc import Container, Iterator

import numpy as np
from numpy.typing import NDArray

from vloc_models.frames.cameras import CameraMount
from vloc_models.frames.source import FrameSource
from vloc_models.records import Frame, Trajectory


class Chosen:
    """Some frames of a recording; a FrameSource as it is one.

    Args:
        source: the recording; closing it is left to whoever opened it.
        stamps_ns: of the frames to keep, rising.
    """

    def __init__(self, source: FrameSource, stamps_ns: NDArray[np.int64]) -> None:
        self._source, self._stamps_ns = source, stamps_ns

    @property
    def notes(self) -> list[str]:
        """What was found odd."""
        return self._source.notes

    @property
    def cameras(self) -> tuple[CameraMount, ...]:
        """The cameras."""
        return self._source.cameras

    @property
    def poses_source(self) -> str:
        """Where the poses come from, in words."""
        return self._source.poses_source

    @property
    def odom_source(self) -> str:
        """Where odometry comes from, in words."""
        return self._source.odom_source

    @property
    def span_ns(self) -> tuple[int, int]:
        """The stamps of the first and the last frame kept."""
        return int(self._stamps_ns[0]), int(self._stamps_ns[-1])

    def __len__(self) -> int:
        return len(self._stamps_ns)

    def frames(self, only: Container[int] | None = None) -> Iterator[Frame]:
        """The frames kept."""
        kept = self._stamps_ns.tolist()
        return self._source.frames({s for s in kept if only is None or s in only})

    def trajectory(self) -> Trajectory:
        """The poses of the frames kept."""
        way = self._source.trajectory()
        kept = np.isin(way.stamps_ns, self._stamps_ns)
        return Trajectory.of(way.stamps_ns[kept], way.T_map_body[kept])

    def odometry(self) -> Trajectory:
        """All odometry."""
        return self._source.odometry()

    def close(self) -> None:
        """Nothing: the recording has other users."""
