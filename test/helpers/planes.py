"""A video whose depth is known: a board before a wall, passed sideways."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from vloc_models.geometry import se3
from vloc_models.training.video import Video

H, W = 64, 96
K = np.array([[80.0, 0, 47.5], [0, 80, 31.5], [0, 0, 1]])
NEAR_M, FAR_M = 1.2, 3.0


def two_planes(count: int = 12, step_m: float = 0.04) -> tuple[Video, NDArray[np.float32]]:
    """A light board before a darker wall, both textured, passed sideways; and the true depth."""
    rng = np.random.default_rng(0)
    paper = [ndimage.gaussian_filter(rng.random((400, 800)), 7.0) for _ in range(2)]
    paper = [(p - p.min()) / np.ptp(p) for p in paper]
    v, u = np.mgrid[0:H, 0:W]
    rays = np.stack([(u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1]], -1)
    images, depths, labels, T = [], [], [], []
    for x in step_m * (np.arange(count) - count / 2):
        far, near = rays * FAR_M + [x, 0], rays * NEAR_M + [x, 0]
        board = (np.abs(near[..., 0] - 0.1) < 0.3) & (near[..., 1] > -0.25)
        shown = []
        for texture, points in zip(paper, (far, near), strict=True):
            at = [200 + 80 * points[..., 1], 400 + 80 * points[..., 0]]
            shown.append(ndimage.map_coordinates(texture, at, order=1, mode='wrap'))
        grey = np.where(board, 0.5 + shown[1] / 2, 0.6 * shown[0])
        images.append(np.stack([grey, grey, 0.9 * grey], -1))
        depths.append(np.where(board, NEAR_M, FAR_M))
        labels.append(board)
        T.append(se3.transform(np.eye(3), [x, 0, 0]))
    video = Video(
        (255 * np.array(images)).astype(np.uint8),
        np.repeat(K[None], count, 0),
        np.array(T),
        np.array(labels, np.uint8),
    )
    return video, np.array(depths, np.float32)


VIDEO, DEPTH = two_planes()


def abs_rel(depth: NDArray[np.float32]) -> float:
    return float(np.mean(np.abs(depth - DEPTH) / DEPTH))
