"""Triplets from places made by hand: a robot that drives on and turns."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from vloc_models.errors import VlocError
from vloc_models.frames.places import Place
from vloc_models.geometry import se3
from vloc_models.training.triplets import Triplet, TripletConfig, draw_triplet

M, LOOKS, EACH_M, EACH_DEG = 40, 3, 0.5, 12.0
CONFIG = TripletConfig()


def drive(count: int = M) -> Place:
    """Turns 12 degrees with each picture, and moves half a metre."""
    T = [
        se3.from_xyz_rpy([EACH_M * n, 0, 0], [0, np.deg2rad(EACH_DEG) * n, 0])
        for n in range(count)
    ]
    images = np.zeros((LOOKS, count, 2, 2, 3), np.uint8)
    return Place(images, np.ones((count, 2, 2), np.float16), images[0, ..., 0], np.array(T))


def drawn(places: list[Place], config: TripletConfig = CONFIG, count: int = 400) -> list[Triplet]:
    rng = np.random.default_rng(0)
    return [draw_triplet(places, config, rng) for _ in range(count)]


def test_the_same_place_is_near_and_in_another_look() -> None:
    found = drawn([drive(), drive()])
    for t in found:
        assert t.same.place == t.anchor.place
        assert t.same.look != t.anchor.look
        assert abs(t.same.frame - t.anchor.frame) <= CONFIG.turned_deg / EACH_DEG
    assert {t.same.frame - t.anchor.frame for t in found} == {-2, -1, 0, 1, 2}


def test_a_drive_straight_on_counts_frames() -> None:
    straight = replace(drive(), T_map_cam=np.repeat(np.eye(4)[None], M, 0))
    off = {t.same.frame - t.anchor.frame for t in drawn([straight, straight])}
    assert off == set(range(-5, 6))


def test_all_pictures_and_looks_are_anchors() -> None:
    found = drawn([drive(), drive()], count=3000)
    assert len({t.anchor for t in found}) == 2 * LOOKS * M


def test_another_place_is_another_one() -> None:
    places = [drive(), drive()]
    inside = 0
    for t in drawn(places):
        if t.other.place == t.anchor.place:
            inside += 1
            apart = abs(t.other.frame - t.anchor.frame)
            turned = abs((EACH_DEG * apart + 180) % 360 - 180)
            assert apart * EACH_M >= CONFIG.away_m or turned >= CONFIG.turned_away_deg - 1e-6
    assert inside > 50


def test_mirrors_are_drawn_apart() -> None:
    assert {t.mirrored for t in drawn([drive(), drive()])} == {
        (a, b) for a in (False, True) for b in (False, True)
    }


def test_the_same_seed_gives_the_same() -> None:
    assert drawn([drive()], count=20) == drawn([drive()], count=20)


def test_a_drive_that_shows_one_place_is_refused() -> None:
    with pytest.raises(VlocError, match='one place only'):
        drawn([drive(3)])


@pytest.mark.parametrize(
    'wrong', [{'frames': -1}, {'away_m': 0}, {'turned_deg': 100.0}, {'turned_deg': -1.0}]
)
def test_senseless_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(VlocError, match='triplets'):
        TripletConfig(**wrong)
