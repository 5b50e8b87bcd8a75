"""The pictures of a recording that a map is made of, small enough to keep in memory."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vloc_models.errors import BagError
from vloc_models.frames.augment import to_grey
from vloc_models.frames.source import FrameSource
from vloc_models.frames.working import working_view
from vloc_models.geometry import se3
from vloc_models.geometry.camera import Camera

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Keyframe:
    """One picture at working size, and where it was taken."""

    stamp_ns: int
    grey: NDArray[np.uint8]  # [H, W]
    camera: Camera
    T_map_cam: Array  # [4, 4]
    depth: NDArray[np.float16] | None = None  # [H, W] metres, NaN where unknown
    image: NDArray[np.uint8] | None = None  # [H, W, 3] RGB, where it was asked for
    labels: NDArray[np.uint8] | None = None  # [H, W] classes, kept together with colours
    learned: bool = False  # depth is a network's, which learned from the video

    @property
    def T_cam_map(self) -> Array:
        """[4, 4]."""
        return se3.inverse(self.T_map_cam)

    def scaled(self, factor: float) -> 'Keyframe':
        """With its depth multiplied."""
        if self.depth is None:
            return self
        return replace(self, depth=(self.depth * np.float32(factor)).astype(np.float16))

    def points(self, pixels: Array) -> Array:
        """Measured map points [N, 3] at pixels [N, 2]; NaN where unknown or outside."""
        if self.depth is None:
            return np.full((len(pixels), 3), np.nan)
        height, width = self.depth.shape
        u, v = pixels.round().astype(int).T
        inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
        z = self.depth[v * inside, u * inside].astype(np.float64)
        z[~inside] = np.nan
        return se3.apply(self.T_map_cam, self.camera.unproject(pixels) * z[:, None])


def read_keyframes(
    source: FrameSource,
    limit: int,
    short_side_px: int,
    report: Callable[[int, int], None] = lambda done, total: None,
    colour: bool = False,
) -> list[Keyframe]:
    """The pictures that have a pose, at most ``limit`` of them, evenly along the way.

    Args:
        source: a recording.
        limit: they stay in memory, about a megabyte each with depth.
        short_side_px: of the pictures kept.
        report: called with how many pictures were read, and of how many.
        colour: keep the colours and classes too; another megabyte each.

    Raises:
        BagError: if no picture has a pose.
    """
    chosen = set(evenly(source, limit // max(1, len(source.cameras))).tolist())
    keyframes = []
    for done, frame in enumerate(source.frames(chosen)):
        report(done + 1, len(chosen))
        if frame.T_map_base is None:
            continue
        for view in (working_view(v, short_side_px) for v in frame.views):
            depth = None if view.depth is None else view.depth.astype(np.float16)
            T_map_cam = frame.T_map_base @ view.T_base_cam
            grey, learned = to_grey(view.image), view.valid is not None
            more = (view.image, view.labels) if colour else (None, None)
            keyframes.append(
                Keyframe(frame.stamp_ns, grey, view.camera, T_map_cam, depth, *more, learned)
            )
    if not keyframes:
        raise BagError(
            'no picture has a pose', 'look with "vloc info" where poses could come from'
        )
    return keyframes


def evenly(source: FrameSource, limit: int) -> NDArray[np.int64]:
    """Stamps of frames with a pose: as far apart as metres and radians together allow."""
    way, limit = source.trajectory(), max(1, limit)
    if len(way) <= limit:
        return way.stamps_ns
    T = way.T_map_body
    moved = np.linalg.norm(np.diff(T[:, :3, 3], axis=0), axis=1)
    turned = se3.angle_rad(np.swapaxes(T[:-1, :3, :3], -1, -2) @ T[1:, :3, :3])
    along = np.concatenate([[0], np.cumsum(moved + turned + 1e-9)])
    marks = np.linspace(0, along[-1], limit)
    return way.stamps_ns[np.unique(np.searchsorted(along, marks))]
