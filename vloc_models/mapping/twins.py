"""Places of a map that look alike: from where else a picture could have been taken.

Found once, while the map is made: each picture's landmarks are matched with those of pictures
taken elsewhere. Where that gives a pose, an answer at one of the two places has to be compared
with the other, however unlike whole pictures of them may look.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vloc_models.geometry import se3
from vloc_models.geometry.camera import Camera
from vloc_models.records import PoseEstimate, SceneCoordinates
from vloc_models.solvers.landmarks import Landmarks, Matcher, elsewhere
from vloc_models.solvers.pnp import Observation, PnpConfig, solve_pnp

Array = NDArray[np.float64]
_LOOKED_AT = 150  # pictures that look most like one
_TOGETHER = 10  # of these at a time
_PLACES = 4  # at most, that one is told to look like
_INLIERS, _INLIER_RATIO = 10, 0.12  # what is no such place costs a few milliseconds, later
_PNP = PnpConfig(inlier_px=12.0, max_iterations=500)


def with_twins(
    landmarks: Landmarks,
    camera: Camera,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Landmarks:
    """The landmarks, with the places that look alike.

    Args:
        landmarks: of the map.
        camera: any; landmarks are looked at through it from where each picture was taken.
        report: called with (pictures done, in all).
    """
    matcher, found = Matcher(landmarks), list[tuple[int, Array]]()
    count = len(landmarks.T_map_cam)
    for picture in range(count):
        found += [(picture, T) for T in _twins_of(picture, matcher, camera)]
        report(picture + 1, count)
    return replace(
        landmarks,
        twin_picture=np.array([picture for picture, _ in found], np.int32),
        T_twin=np.array([T for _, T in found], np.float32).reshape(-1, 4, 4),
    )


def _twins_of(picture: int, matcher: Matcher, camera: Camera) -> Iterator[Array]:
    """What carries one picture's pose to each of those it could have been taken from as well."""
    T_map_cam = matcher.T_map_cam(picture)
    pictures, taken = matcher.pictures_like(picture, _LOOKED_AT), [T_map_cam]
    for _ in range(_PLACES):
        others = [p for p in pictures.tolist() if _new(matcher.T_map_cam(p), taken)]
        found = _seen_among(picture, others[:_TOGETHER], matcher, camera)
        if found is None or not _new(found.T_map_base, taken):
            return
        taken.append(found.T_map_base)
        yield found.T_map_base @ se3.inverse(T_map_cam)


def _new(T_map_cam: Array, taken: list[Array]) -> bool:
    return all(elsewhere(T_map_cam, T) for T in taken)


def _seen_among(
    picture: int, others: list[int], matcher: Matcher, camera: Camera
) -> PoseEstimate | None:
    """From where a picture's landmarks would look like those of some others."""
    in_cam, descriptors = matcher.seen_in(picture)
    pixels = camera.project(in_cam)
    rows = np.repeat(np.arange(len(pixels))[:, None], 2, 1)
    matches = matcher.match(descriptors, rows, np.array(others, int))
    seen = SceneCoordinates(pixels[matches.cells[:, 0]], matches.points, matches.confidence)
    found = solve_pnp([Observation(seen, camera, np.eye(4))], _PNP)
    if found is None or found.inliers < _INLIERS or found.inlier_ratio < _INLIER_RATIO:
        return None
    return found
