"""Landmarks that lie between cells are seen where they are."""

import numpy as np
from twins import (
    CAMERA,
    COLUMNS,
    MOUNTS,
    ROWS,
    Array,
    Solver,
    T_map_base,
    first_anywhere,
    inliers,
    scene_points,
    told,
    unit,
    unlike,
)

from vloc_models.geometry import se3
from vloc_models.localize.by_landmarks import Answer, Asked
from vloc_models.localize.cells import Cells
from vloc_models.records import Verdict
from vloc_models.solvers.landmarks import Landmarks, Matcher, whole_picture
from vloc_models.solvers.spots import Spots, centres
from vloc_models.solvers.subcell import finer


def between_cells(seed: int) -> tuple[list[Cells], Matcher, Array]:
    """A scene whose landmarks lie off the centres of their cells, and where they are.

    Around each, likeness is a tent: it falls in proportion to the bilinear weight of the cells.
    """
    rng, D = np.random.default_rng(seed), 64
    spots = unlike(rng, 0, D)
    rows, columns = np.mgrid[1 : ROWS - 1 : 3, 1 : COLUMNS - 1 : 3]
    cells = np.stack([rows.ravel(), columns.ravel()], 1)
    places = centres(cells) + rng.uniform(-4, 4, (len(cells), 2))
    wanted = unit(rng.normal(size=(len(cells), D)))
    for (row, column), place, feature in zip(cells.tolist(), places, wanted, strict=True):
        for i in range(row - 1, row + 2):
            for j in range(column - 1, column + 2):
                away = np.abs(place - (8 * j + 3.5, 8 * i + 3.5)) / 8
                alike = 0.35 + 0.6 * np.prod(np.maximum(0, 1 - away))
                other = spots.grid[i, j] - (spots.grid[i, j] @ feature) * feature
                other /= np.linalg.norm(other)
                spots.grid[i, j] = alike * feature + np.sqrt(1 - alike**2) * other
    sure = np.ones(len(cells), np.float32)
    seen = Cells(Spots(spots.grid, cells, sure), CAMERA, MOUNTS[0])
    T_map_cam = T_map_base @ MOUNTS[0]
    in_cam = CAMERA.unproject(places) * rng.uniform(2, 5, (len(cells), 1))
    words = wanted[:16].astype(np.float32)
    place = whole_picture(wanted.astype(np.float32), sure, words)
    marks = Landmarks(
        se3.apply(T_map_cam, in_cam).astype(np.float32),
        np.round(wanted * 127).astype(np.int8),
        np.eye(D, dtype=np.float32),
        np.zeros(len(cells), np.int32),
        T_map_cam[None].astype(np.float32),
        words,
        np.round(place[None] * 127).astype(np.int8),
    )
    return [seen], Matcher(marks), places


def rms(x: Array) -> float:
    return float(np.sqrt((x**2).sum(1).mean()))


def missed(answer: Answer) -> tuple[float, float]:
    """Metres and radians."""
    T = answer.T_map_base
    assert answer.accepted
    assert T is not None
    turned = se3.angle_rad(T[:3, :3].T @ T_map_base[:3, :3])
    return float(np.linalg.norm((T - T_map_base)[:3, 3])), float(turned)


def test_places_between_cells_are_found_and_the_pose_is_nearer() -> None:
    """Than with the cells' centres; as much as the soft arg-max of a tent can do."""
    by_place, by_centre = [], []
    for seed in range(8):
        cells, matcher, places = between_cells(seed)
        answer = first_anywhere(cells, matcher, Solver())
        inner = ((places > 16) & (places < [640 - 16, 480 - 16])).all(1).sum()
        assert inner > 400
        assert inliers(answer) > 0.98 * inner
        (seen,) = answer.observations
        points = scene_points(cells[0], matcher)
        number = {tuple(point): n for n, point in enumerate(points.tolist())}
        near = [number[tuple(point)] for point in seen.coordinates.points.tolist()]
        assert len(set(near)) == len(near)
        assert rms(seen.coordinates.pixels - places[near]) < 2.0
        assert rms((cells[0].spots.pixels - places)[near]) > 3.1
        by_place.append(missed(answer))
        by_centre.append(missed(Solver()([told(cells[0], points)], T_map_base)))
    metres, radians = np.mean(by_place, 0) / np.mean(by_centre, 0)
    assert metres < 0.75
    assert radians < 0.75


def test_what_is_seen_is_what_was_matched_finer_than_its_cell() -> None:
    cells, matcher, _ = between_cells(0)
    asked, count = Asked.of(cells[0], matcher), len(cells[0].spots.cells)
    np.testing.assert_array_equal(asked.grid, matcher.short(cells[0].spots.grid))
    np.testing.assert_allclose(asked.short, matcher.short(cells[0].spots.features), atol=1e-6)
    whole = matcher.match(asked.short[::2], cells[0].spots.cells[::2], np.array([0]))
    near = matcher.match_near(asked.grid, CAMERA, T_map_base @ MOUNTS[0], 38.4)
    assert 0.3 * count < len(whole.cells) < 0.6 * count < len(near.cells)
    for matches in (whole, near):
        seen = asked.seen(matches)
        for cell, wanted, found in zip(
            matches.cells, matches.wanted, seen.coordinates.pixels, strict=True
        ):
            (pixel,) = finer(asked.grid, cell[None], wanted[None])
            np.testing.assert_allclose(found, pixel, atol=1e-4)
        np.testing.assert_array_equal(seen.coordinates.points, matches.points)
        weights = np.maximum(2 * matches.cosine - 1, 0)
        np.testing.assert_allclose(seen.coordinates.confidence, weights, atol=1e-6)
        np.testing.assert_array_equal(seen.T_base_cam, MOUNTS[0])
        assert seen.camera == CAMERA
    np.testing.assert_array_equal(cells[0].spots.pixels, centres(cells[0].spots.cells))


def test_nothing_matched_is_nothing_seen() -> None:
    cells, matcher, _ = between_cells(0)
    asked = Asked.of(cells[0], matcher)
    seen = asked.seen(matcher.match(asked.short, cells[0].spots.cells, np.zeros(0, int)))
    told = seen.coordinates
    assert [x.shape for x in (told.pixels, told.points, told.confidence)] == [(0, 2), (0, 3), (0,)]
    assert Solver()([seen], None).fix.verdict is Verdict.NONE
