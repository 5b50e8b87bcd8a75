"""Triplets of pictures: a place, the same place in another look, and another place.

As DASGIL draws them from Virtual KITTI's sequences (section IV-A), with poses in place of the
names of its turned cameras; and another place is another one: the paper's may be the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_models.errors import VlocError
from vloc_models.frames.places import Place
from vloc_models.geometry import se3

Array = NDArray[np.float64]


@dataclass(frozen=True)
class TripletConfig:
    """What counts as the same place, and what as another."""

    frames: int = 5  # the same: at most so many pictures before or after in the drive
    turned_deg: float = 30.0  # and turned by no more
    away_m: float = 4.0  # another: so far away, or in another world, or turned away
    turned_away_deg: float = 90.0

    def __post_init__(self) -> None:
        if self.frames < 0 or not 0 <= self.turned_deg < self.turned_away_deg or self.away_m <= 0:
            raise VlocError(
                f'triplets: {self.frames} frames, {self.turned_deg:g} deg the same, '
                f'{self.away_m:g} m or {self.turned_away_deg:g} deg another',
                'give positive numbers, the lesser angle first',
            )


@dataclass(frozen=True)
class Shot:
    """One picture: of a place, in a look, at a moment."""

    place: int
    look: int
    frame: int


@dataclass(frozen=True)
class Triplet:
    """Anchor, the same place, another one; and which of them are shown mirrored."""

    anchor: Shot
    same: Shot
    other: Shot
    mirrored: tuple[bool, bool]  # anchor and same together, other


def draw_triplet(
    places: Sequence[Place], config: TripletConfig, rng: np.random.Generator
) -> Triplet:
    """One by chance; the anchor may be any picture."""
    place, look, frame = _any(places, rng)
    here = places[place]
    turned = _turned_deg(here.T_map_cam, frame)
    near = np.abs(np.arange(len(turned)) - frame) <= config.frames
    same_frame = rng.choice(np.flatnonzero(near & (turned <= config.turned_deg)))
    same_look = rng.choice([n for n in range(len(here.images)) if n != look])
    other = _another(places, Shot(place, look, frame), config, rng)
    mirrored = rng.random(2) < 0.5
    return Triplet(
        Shot(place, look, frame),
        Shot(place, int(same_look), int(same_frame)),
        other,
        (bool(mirrored[0]), bool(mirrored[1])),
    )


def _another(
    places: Sequence[Place], anchor: Shot, config: TripletConfig, rng: np.random.Generator
) -> Shot:
    """A picture of another place.

    Raises:
        VlocError: if there is none.
    """
    here = places[anchor.place]
    far = np.linalg.norm(here.T_map_cam[:, :3, 3] - here.T_map_cam[anchor.frame, :3, 3], axis=1)
    elsewhere = far >= config.away_m
    elsewhere |= _turned_deg(here.T_map_cam, anchor.frame) >= config.turned_away_deg
    if len(places) == 1 and not elsewhere.any():
        raise VlocError('triplets: the drive shows one place only', 'give more worlds')
    while True:
        place, look, frame = _any(places, rng)
        if place != anchor.place or elsewhere[frame]:
            return Shot(place, look, frame)


def _any(places: Sequence[Place], rng: np.random.Generator) -> tuple[int, int, int]:
    place = int(rng.integers(len(places)))
    looks, frames = places[place].images.shape[:2]
    return place, int(rng.integers(looks)), int(rng.integers(frames))


def _turned_deg(T_map_cam: Array, frame: int) -> Array:
    """By how much each picture [M] is turned against one of them."""
    turns = T_map_cam[frame, :3, :3].T @ T_map_cam[:, :3, :3]
    return np.rad2deg(se3.angle_rad(turns))
