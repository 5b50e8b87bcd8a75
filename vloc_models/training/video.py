"""A video to learn depth from, and which of its pictures show each other's surfaces anew."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_models.checks import check_se3, check_shape
from vloc_models.errors import VlocError
from vloc_models.geometry import se3
from vloc_models.networks.fsre import COARSEST

Array = NDArray[np.float64]
_LESS, _WIDER = 0.67, 3.0  # of overlap and parallax, where nothing fits
_GRID = 6  # rows and columns of pixels that stand for a picture


@dataclass(frozen=True, eq=False)
class Video:
    """What depth is learned from: rectified pictures (pinhole, no distortion) in time order."""

    images: NDArray[np.uint8]  # [M, H, W, 3] RGB, H and W multiples of 32
    K: Array  # [M, 3, 3] pixels
    T_map_cam: Array | None  # [M, 4, 4] metres; None: motion is learned too, depth has no scale
    labels: NDArray[np.uint8] | None = None  # [M, H, W] 255 = none; None: photometric only
    hints: NDArray[np.float32] | None = None  # [M, H, W] depth in metres where it is known, or nan

    def check(self, classes: int) -> None:
        """Check what a recording or a caller can get wrong.

        Raises:
            VlocError: with the first fault found.
        """
        sizes = check_shape(self.images, 'M H W 3', 'video: images')
        M, H, W = sizes['M'], sizes['H'], sizes['W']
        if M < 2:
            raise VlocError(f'video: {M} pictures', 'depth is learned from two or more')
        if H % COARSEST or W % COARSEST or min(H, W) < 2 * COARSEST:
            fix = f'bring both sides to a multiple of {COARSEST}, from {2 * COARSEST} on'
            raise VlocError(f'video: pictures of {W}x{H}', fix)
        check_shape(self.K, 'M 3 3', 'video: K', M=M)
        if not np.isfinite(self.K).all() or (self.K[:, [0, 1], [0, 1]] <= 0).any():
            raise VlocError('video: K is no camera matrix', 'give focal lengths in pixels')
        if self.T_map_cam is not None:
            check_shape(self.T_map_cam, 'M 4 4', 'video: T_map_cam', M=M)
            for number, T in enumerate(self.T_map_cam):
                check_se3(T, f'video: T_map_cam of picture {number}')
        if self.hints is not None:
            check_shape(self.hints, 'M H W', 'video: hints', **sizes)
        if self.labels is not None:
            check_shape(self.labels, 'M H W', 'video: labels', **sizes)
            told = self.labels[self.labels != 255]
            if told.size and told.max() >= classes:
                fix = f'the network has {classes} classes: give more, or other labels'
                raise VlocError(f'video: label {told.max()}', fix)


@dataclass(frozen=True)
class NeighbourConfig:
    """Which other pictures are held against one; shares are of the picture's width or area."""

    count: int = 2  # of them at a time
    overlap: float = 0.6  # share of the picture that the other must show
    parallax: tuple[float, float] = (0.03, 0.10)  # how far apart near and far must come to lie
    near_m: float = 1.0  # where overlap and parallax are reckoned
    far_m: float = 4.0  # and between these

    def __post_init__(self) -> None:
        low, high = self.parallax
        if self.count < 1 or not 0 <= low < high or not 0 < self.near_m < self.far_m:
            raise VlocError(
                f'neighbours: {self.count}, parallax {low:g} to {high:g}, '
                f'depths {self.near_m:g} to {self.far_m:g} m',
                'give one or more, and rising ranges',
            )


def neighbours_of(video: Video, config: NeighbourConfig) -> list[NDArray[np.int64]]:
    """For each picture the others that may be held against it; perhaps none.

    By poses those that show enough of the same with a base line to tell depth by; for a picture
    without any such, those somewhat further off. Without poses the one before and the one after.

    Raises:
        VlocError: if no picture has any.
    """
    M = len(video.images)
    if video.T_map_cam is None:
        return [np.array([j for j in (i - 1, i + 1) if 0 <= j < M]) for i in range(M)]
    found = []
    for i in range(M):
        overlap, parallax = _shared(video, i, config)
        overlap[i] = 0
        low, high = config.parallax
        fits = (overlap >= config.overlap) & (parallax >= low) & (parallax <= high)
        if not fits.any():  # taken far apart: better a large base line than none
            fits = (overlap >= _LESS * config.overlap) & (parallax >= low)
            fits &= parallax <= _WIDER * high
        found.append(np.flatnonzero(fits))
    if not any(map(len, found)):
        raise VlocError(
            f'video: no two of {M} pictures show the same from two places',
            'move the camera sideways while recording, a few centimetres a second or more',
        )
    return found


def _shared(video: Video, i: int, config: NeighbourConfig) -> tuple[Array, Array]:
    """Of all pictures [M]: the share of picture i they show, and the mean parallax to it."""
    assert video.T_map_cam is not None
    H, W = video.images.shape[1:3]
    v, u = np.mgrid[0 : H - 1 : _GRID * 1j, 0 : W - 1 : _GRID * 1j]
    pixels = np.stack([u.ravel(), v.ravel(), np.ones(u.size)])
    rays = (np.linalg.inv(video.K[i]) @ pixels).T
    depths = np.array([config.near_m, config.far_m])
    points = (rays * depths[:, None, None]).reshape(-1, 3)
    T_other_cam = se3.inverse(video.T_map_cam) @ video.T_map_cam[i]
    moved = points @ np.swapaxes(T_other_cam[:, :3, :3], 1, 2) + T_other_cam[:, None, :3, 3]
    z = moved[..., 2]
    seen = (moved @ np.swapaxes(video.K, 1, 2))[..., :2] / np.maximum(z, 1e-3)[..., None]
    inside = (z > 0.1) & (seen >= 0).all(2) & (seen <= [W - 1, H - 1]).all(2)
    seen, inside = seen.reshape(-1, 2, u.size, 2), inside.reshape(-1, 2, u.size)
    apart = np.linalg.norm(seen[:, 0] - seen[:, 1], axis=2) / W
    both = inside.all(1)
    parallax = (apart * both).sum(1) / np.maximum(both.sum(1), 1)
    return inside.mean((1, 2)), parallax
