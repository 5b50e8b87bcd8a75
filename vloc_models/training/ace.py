"""Train a scene-coordinate head on a recording: ACE's buffer and curriculum (arXiv 2305.14059).

First a buffer of shuffled cells of all pictures is filled, each with its feature, its ray, its
picture's number and, where there is depth, its map point. Then the head, which is the map, is fit
to it. Poses and intrinsics are looked up by picture instead of copied to every cell.

Two things differ from the paper. Augmentation warps the picture and follows each cell back to the
pixel it came from, so that neither poses nor intrinsics change and any lens model stays exact. And
measured points pull the head at first, so that it starts within the place.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vloc_models.errors import VlocError
from vloc_models.frames.augment import Photometric, apply_homography, photometric, warp
from vloc_models.frames.keyframes import Keyframe
from vloc_models.networks.ace import (
    Head,
    HeadConfig,
    LossConfig,
    Whitening,
    measured_loss,
    reprojection_loss,
)
from vloc_models.solvers.spots import Spots
from vloc_models.training.loop import LoopConfig, Report, Shuffle, optimise

Array = NDArray[np.float64]
Encode = Callable[[NDArray[np.uint8]], Spots]  # all cells of a grey picture [H, W]
_LEAST_SURE = 0.05  # added to how sure cells are, so that each may be drawn
_STEPS = (3000, 12_000)  # fewest and most, where they follow from the number of pictures


@dataclass(frozen=True)
class BufferConfig:
    """Which cells are learned from."""

    cells: int = 1_000_000  # of all pictures together
    cells_per_image: int = 1024  # drawn from one augmented picture
    zoom: float = 1.5  # the picture is scaled by 1/1.5 to 1.5
    turn_deg: float = 15.0  # the picture is turned by up to this
    light: Photometric = field(
        default_factory=lambda: Photometric(1.2, 0.1, 10, 0.1, 0.7, 4, 4, (60, 95), 0.2)
    )

    def __post_init__(self) -> None:
        if self.cells < 1 or self.cells_per_image < 1 or not self.zoom > 0:
            raise VlocError(
                f'buffer: {self.cells} cells, {self.cells_per_image} an image, zoom {self.zoom:g}',
                'give more of each',
            )


@dataclass(frozen=True)
class AceTraining:
    """How a head is trained."""

    seed: int = 0  # of the order of the cells and the first weights
    batch: int = 2048  # smaller ones learn more in the same time: more steps
    head: HeadConfig = field(default_factory=lambda: HeadConfig(128, 128, 1))
    loss: LossConfig = field(default_factory=LossConfig)
    depth_weight: float = 1.0  # of the measured points' loss, beside the reprojection's
    depth_until: float = 1.0  # progress from which they pull no more; 1: to the end
    from_progress: float = 0.0  # where the curriculum starts, for a head trained before
    steps_per_picture: int = 25  # where loop.steps is 0
    loop: LoopConfig = field(default_factory=lambda: LoopConfig(0))

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise VlocError(f'training: a batch of {self.batch} cells', 'give more')

    def for_pictures(self, count: int) -> 'AceTraining':
        """The same with as many steps as so many pictures need, unless steps are given."""
        if self.loop.steps:
            return self
        steps = int(np.clip(self.steps_per_picture * count, *_STEPS))
        return replace(self, loop=replace(self.loop, steps=steps))


@dataclass(frozen=True, eq=False)
class Buffer:
    """Cells of all pictures, in random order."""

    features: NDArray[np.float16]  # [N, C]
    pixels: NDArray[np.float32]  # [N, 2] the cell's ray times the focal lengths
    points: NDArray[np.float32]  # [N, 3] map, metres; NaN where not measured
    picture: NDArray[np.int32]  # [N]


@dataclass(frozen=True, eq=False)
class Pictures:
    """What the cells of one picture share."""

    focal: NDArray[np.float32]  # [M, 2]
    T_cam_map: NDArray[np.float32]  # [M, 4, 4]
    centre: NDArray[np.float32]  # [3] mean of the camera centres


def fill_buffer(
    keyframes: Sequence[Keyframe],
    encode: Encode,
    config: BufferConfig,
    seed: int,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Buffer:
    """Encode augmented pictures in random order until there are enough cells.

    Raises:
        VlocError: if the features are not finite, or all alike.
    """
    rng = np.random.default_rng([5, seed])
    passes = math.ceil(config.cells / (config.cells_per_image * len(keyframes)))
    order = np.concatenate([rng.permutation(len(keyframes)) for _ in range(passes)])
    order = order[: math.ceil(config.cells / config.cells_per_image)]
    parts = []
    for done, number in enumerate(order.tolist()):
        parts.append(_cells_of(keyframes[number], number, encode, config, rng))
        report(done + 1, len(order))
    joined = Buffer(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    if not np.isfinite(joined.features).all():
        raise VlocError('encoder: its features are not finite', 'use another encoder')
    some = joined.features[:: len(joined.picture) // 1000 + 1]  # of all pictures
    if some.astype(np.float32).std(0).max() < 1e-4:
        raise VlocError(
            'pictures: all look alike', 'was the lens covered? record the place in light'
        )
    return joined


def _cells_of(
    keyframe: Keyframe,
    number: int,
    encode: Encode,
    config: BufferConfig,
    rng: np.random.Generator,
) -> tuple[NDArray, ...]:
    """Some cells of one picture under a random zoom, turn and light."""
    H, width, height = _zoomed(keyframe, config, rng)
    picture = photometric(warp(keyframe.grey, H, width, height), config.light, rng)
    spots = encode(picture)
    chance = spots.sure.astype(np.float64) + _LEAST_SURE
    count = min(2 * config.cells_per_image, len(chance))
    rows = rng.choice(len(chance), count, replace=False, p=chance / chance.sum())
    pixels = apply_homography(H, spots.pixels[rows])
    camera = keyframe.camera
    inside = ((pixels >= 0) & (pixels <= [camera.width - 1, camera.height - 1])).all(1)
    rays = camera.unproject(pixels)[:, :2]
    keep = np.flatnonzero(inside & np.isfinite(rays).all(1))[: config.cells_per_image]
    return (
        spots.features[rows[keep]].astype(np.float16),
        (rays[keep] * [camera.fx, camera.fy]).astype(np.float32),
        keyframe.points(pixels[keep]).astype(np.float32),
        np.full(len(keep), number, np.int32),
    )


def _zoomed(
    keyframe: Keyframe, config: BufferConfig, rng: np.random.Generator
) -> tuple[Array, int, int]:
    """A map from the augmented picture's pixels to the picture's, and the former's size."""
    camera = keyframe.camera
    zoom = config.zoom ** rng.uniform(-1, 1)
    width, height = round(camera.width * zoom), round(camera.height * zoom)
    angle = np.radians(rng.uniform(-config.turn_deg, config.turn_deg))
    R = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / zoom
    there, here = (
        np.array([camera.width - 1, camera.height - 1]),
        np.array([width - 1, height - 1]),
    )
    H = np.eye(3)
    H[:2, :2], H[:2, 2] = R, there / 2 - R @ here / 2
    return H, width, height


def pictures_of(keyframes: Sequence[Keyframe]) -> Pictures:
    """Focal lengths and poses by number, and the centre of the cameras."""
    focal = np.array([[k.camera.fx, k.camera.fy] for k in keyframes], np.float32)
    T_cam_map = np.stack([k.T_cam_map for k in keyframes]).astype(np.float32)
    centre = np.mean([k.T_map_cam[:3, 3] for k in keyframes], 0)
    return Pictures(focal, T_cam_map, centre.astype(np.float32))


def train_head(
    buffer: Buffer,
    pictures: Pictures,
    config: AceTraining,
    start: Head | None = None,
    device: str = 'cpu',
    checkpoint: Path | None = None,
    report: Report = lambda step, loss: None,
) -> Head:
    """Fit a head to the buffer; the same seed and data give the same one."""
    torch.manual_seed(config.seed)
    some = buffer.features[:: len(buffer.features) // 50_000 + 1].astype(np.float32)
    whitening = Whitening.of(torch.from_numpy(some))
    head = Head(config.head, torch.from_numpy(pictures.centre), whitening)
    if start is not None:
        head.load_state_dict(start.state_dict())
    head.to(device)
    columns = [torch.from_numpy(x) for x in (buffer.features, buffer.pixels, buffer.points)]
    number = torch.from_numpy(buffer.picture).long()
    T_cam_map, K = (x.to(device) for x in (torch.from_numpy(pictures.T_cam_map), _K(pictures)))
    shuffle = Shuffle(len(number), config.batch, config.seed)

    def loss_of(step: int) -> Tensor:
        rows = shuffle.rows(step)
        features, pixels, measured = (x[rows].to(device).float() for x in columns)
        which = number[rows].to(device)
        progress = config.from_progress + (1 - config.from_progress) * step / config.loop.steps
        seen = pixels, T_cam_map[which], K[which], progress, config.loss
        points = head(features)
        loss = reprojection_loss(points, *seen)
        if config.depth_weight and (progress < config.depth_until or config.depth_until >= 1):
            loss = loss + config.depth_weight * measured_loss(points, measured, *seen)
        return loss

    optimise(head, loss_of, config.loop, checkpoint, report)
    return head.cpu().eval()


def _K(pictures: Pictures) -> Tensor:
    """Pinhole matrices [M, 3, 3] around the principal point."""
    K = torch.zeros(len(pictures.focal), 3, 3)
    K[:, 0, 0], K[:, 1, 1] = torch.from_numpy(pictures.focal).T
    K[:, 2, 2] = 1
    return K
