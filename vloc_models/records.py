"""The records that travel through vloc: frozen dataclasses of numpy arrays.

Transforms are ``T_target_source`` (4x4, float64, metres); stamps are integer nanoseconds; a
covariance is 6x6 in the order (x, y, z, rot_x, rot_y, rot_z), fixed axes of the parent frame.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from vloc_models.checks import check_shape
from vloc_models.errors import VlocError
from vloc_models.geometry import se3
from vloc_models.geometry.camera import Camera

Array = NDArray[np.float64]


class Verdict(Enum):
    """What one frame's answer is worth."""

    ACCEPTED = 'accepted'
    WEAK = 'weak'  # a pose, not to be relied on
    AMBIGUOUS = 'ambiguous'  # several places explain the image; candidates are given
    COARSE = 'coarse'  # no pose but a guess: the pose prior's
    PLACE_ONLY = 'place_only'  # no pose but a guess: where a picture of the map was taken
    NONE = 'none'  # no pose


class State(Enum):
    """What the track over many frames is worth."""

    LOCALIZED = 'localized'
    UNSURE = 'unsure'
    LOST = 'lost'


@dataclass(frozen=True, eq=False)
class View:
    """One camera's picture at one moment."""

    image: NDArray[np.uint8]  # [H, W, 3] RGB
    camera: Camera
    T_base_cam: Array  # [4, 4] where the camera sits on the robot
    depth: NDArray[np.float32] | None = None  # [H, W] z in metres, NaN where unknown
    labels: NDArray[np.uint8] | None = None  # [H, W] semantic class
    # [H, W] where pictures confirm learned depth; None: the depth, if any, is a sensor's
    valid: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        size = {'H': self.camera.height, 'W': self.camera.width}
        check_shape(self.image, 'H W 3', 'image', **size)
        if self.depth is not None:
            check_shape(self.depth, 'H W', 'depth', **size)
        if self.labels is not None:
            check_shape(self.labels, 'H W', 'labels', **size)
        if self.valid is not None:
            check_shape(self.valid, 'H W', 'valid', **size)


@dataclass(frozen=True, eq=False)
class Frame:
    """All that is known of one moment: from a bag, a folder, a topic or the synthetic world."""

    stamp_ns: int
    views: tuple[View, ...]  # one a camera; the first is the one accuracy is measured at
    T_odom_base: Array | None = None  # [4, 4] odometry at the stamp
    T_map_base: Array | None = None  # [4, 4] mapping pose, or the truth in evaluation


@dataclass(frozen=True, eq=False)
class SceneCoordinates:
    """Map points that a network saw in one view."""

    pixels: Array  # [N, 2]
    points: Array  # [N, 3] map frame
    confidence: NDArray[np.float32]  # [N] how much each counts; with 0 it is left out


@dataclass(frozen=True, eq=False)
class PoseEstimate:
    """A pose solved from correspondences, with what supports it."""

    T_map_base: Array  # [4, 4]
    covariance: Array  # [6, 6] in map
    inliers: int
    inlier_ratio: float
    coverage: float  # share of the image's cells that hold an inlier; of a rig's best camera
    reprojection_px: float  # median over the inliers
    by_camera: tuple[float | None, ...] = ()  # inlier ratio of each; None where it has no say

    @property
    def agreed_ratio(self) -> float:
        """The inlier ratio, or what more than half of the cameras that have a say reach each.

        So a camera that was knocked does not spoil what the others agree on.
        """
        reached = sorted((x for x in self.by_camera if x is not None), reverse=True)
        return max([self.inlier_ratio, *reached[len(reached) // 2 :][:1]])


@dataclass(frozen=True, eq=False)
class Fix:
    """The honest answer to one frame."""

    stamp_ns: int
    verdict: Verdict
    reason: str  # in words, e.g. "11 % inliers, 30 % needed"
    estimate: PoseEstimate | None = None
    candidates: tuple[PoseEstimate, ...] = ()  # when AMBIGUOUS
    credible: tuple[bool, ...] = ()  # of each candidate: alone, it would be accepted
    guess: PoseEstimate | None = None  # when COARSE or PLACE_ONLY: to look there, not to drive by


@dataclass(frozen=True, eq=False)
class Track:
    """The fused pose at one moment."""

    stamp_ns: int
    state: State
    reason: str
    T_map_odom: Array | None = None  # [4, 4]
    T_map_base: Array | None = None  # [4, 4]
    covariance: Array | None = None  # [6, 6] of T_map_base, in map


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Poses over time in rising stamps: a TUM file, a truth topic, a list of fixes."""

    stamps_ns: NDArray[np.int64]  # [N]
    T_map_body: Array  # [N, 4, 4]
    accepted: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))  # [N]

    def __post_init__(self) -> None:
        n = check_shape(self.stamps_ns, 'N', 'stamps_ns')['N']
        check_shape(self.T_map_body, 'N 4 4', 'T_map_body', N=n)
        if not len(self.accepted):  # a list without marks stands behind all its poses
            object.__setattr__(self, 'accepted', np.ones(n, bool))
        check_shape(self.accepted, 'N', 'accepted', N=n)
        if (self.stamps_ns[1:] <= self.stamps_ns[:-1]).any():
            raise VlocError('trajectory stamps do not rise', 'sort them and drop duplicates')

    def __len__(self) -> int:
        return len(self.stamps_ns)

    @staticmethod
    def of(stamps_ns: Iterable[int], poses: Iterable[Array]) -> 'Trajectory':
        """From lists that may be empty."""
        T = np.array(list(poses), np.float64).reshape(-1, 4, 4)
        return Trajectory(np.array(list(stamps_ns), np.int64), T)

    def moved(self, T_body_other: Array) -> 'Trajectory':
        """The same motion seen at another point of the body, e.g. with T_base_cam its camera."""
        return Trajectory(self.stamps_ns, self.T_map_body @ T_body_other, self.accepted)

    def length_m(self) -> float:
        """The distance travelled."""
        return float(np.linalg.norm(np.diff(self.T_map_body[:, :3, 3], axis=0), axis=1).sum())

    def at(self, stamp_ns: int, max_gap_ns: int) -> Array | None:
        """The pose [4, 4] at a stamp, interpolated; None outside or in a gap longer than that."""
        after = int(np.searchsorted(self.stamps_ns, stamp_ns))
        if after < len(self) and self.stamps_ns[after] == stamp_ns:
            return self.T_map_body[after]
        if after in (0, len(self)):
            return None
        t0, t1 = int(self.stamps_ns[after - 1]), int(self.stamps_ns[after])
        if t1 - t0 > max_gap_ns:
            return None
        fraction = (stamp_ns - t0) / (t1 - t0)
        return se3.interpolate(self.T_map_body[after - 1], self.T_map_body[after], fraction)
