"""Rendered places in several looks from the same poses, to teach a network what stays the same."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_models.errors import VlocError
from vloc_models.frames.synthetic import DriveSpec, SyntheticSource, SyntheticSpec, WorldSpec
from vloc_models.frames.synthetic.looks import LOOK_NAMES, LookName

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PlaceConfig:
    """Which places are rendered."""

    worlds: int = 30
    drive_s: float = 60.0
    rate_hz: float = 2.0
    looks: tuple[LookName, ...] = ('day', 'evening', 'night')  # winter is left for tests
    size: tuple[int, int] = (256, 256)  # height and width of the pictures; the whole view

    def __post_init__(self) -> None:
        if len(self.looks) < 2 or not set(self.looks) <= set(LOOK_NAMES):
            raise VlocError(
                f'places: looks {" ".join(self.looks) or "none"}',
                f'give two or more of {" ".join(LOOK_NAMES)}',
            )
        if self.worlds < 1 or min(*self.size, self.drive_s, self.rate_hz) <= 0:
            raise VlocError(
                f'places: {self.worlds} worlds, {self.drive_s:g} s at {self.rate_hz:g} Hz, '
                f'pictures of {self.size[1]}x{self.size[0]}',
                'give more',
            )


@dataclass(frozen=True, eq=False)
class Place:
    """What a drive through a place shows, in L looks."""

    images: NDArray[np.uint8]  # [L, M, H, W, 3] RGB
    depth: NDArray[np.float16]  # [M, H, W] metres, nan where unknown
    labels: NDArray[np.uint8]  # [M, H, W] 255 = none
    T_map_cam: Array  # [M, 4, 4]


def read_place(
    seed: int,
    config: PlaceConfig,
    cache: Path | None = None,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Place:
    """Drive through the training world ``seed`` once in every look.

    Args:
        seed: every fourth world has rooms that look alike.
        config: what to render.
        cache: where pictures are kept [the user's cache].
        report: called after every picture with how many are ready, and of how many.
    """
    world = WorldSpec(seed, 'train', lookalikes=int(seed % 4 == 1))
    drive = DriveSpec(seed, 'mapping', config.rate_hz, duration_s=config.drive_s)
    sources = [SyntheticSource(SyntheticSpec(world, drive, look), cache) for look in config.looks]
    count, done = len(sources[0]), 0
    H, W = config.size
    images = np.empty((len(sources), count, H, W, 3), np.uint8)
    depth, labels = np.empty((count, H, W), np.float16), np.empty((count, H, W), np.uint8)
    T_map_cam = np.empty((count, 4, 4))
    for look, source in enumerate(sources):
        for n, frame in enumerate(source.frames()):
            view = frame.views[0]
            images[look, n] = cv2.resize(view.image, (W, H), interpolation=cv2.INTER_AREA)
            if look == 0:
                assert view.depth is not None
                assert view.labels is not None
                assert frame.T_map_base is not None
                depth[n] = _nearest(view.depth, W, H)
                labels[n] = _nearest(view.labels, W, H)
                T_map_cam[n] = frame.T_map_base @ view.T_base_cam
            done += 1
            report(done, len(sources) * count)
    return Place(images, depth, labels, T_map_cam)


def read_real(folder: Path, size: tuple[int, int], most: int) -> NDArray[np.uint8]:
    """Photos [N, H, W, 3], RGB: at most so many, evenly from all of a folder in their order.

    Raises:
        VlocError: if there is none that can be read.
    """
    files = sorted(p for p in folder.glob('*') if p.suffix.lower() in ('.jpg', '.jpeg', '.png'))
    some = np.unique(np.linspace(0, len(files) - 1, min(most, len(files))).astype(int))
    read = (cv2.imread(str(files[n]), cv2.IMREAD_COLOR_RGB) for n in some.tolist())
    H, W = size
    shown = [cv2.resize(p, (W, H), interpolation=cv2.INTER_AREA) for p in read if p is not None]
    if not shown:
        raise VlocError(f'{folder}: no readable jpg or png picture', 'name a folder of photos')
    return np.stack(shown).astype(np.uint8, copy=False)


def _nearest(picture: NDArray[np.generic], width: int, height: int) -> NDArray[np.generic]:
    found = cv2.resize(picture, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)  # pyright: ignore
    return np.asarray(found)
