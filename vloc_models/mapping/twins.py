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
_TOGETHER = 10  # pictures of one place that are matched with at a time
_TRIES = 8  # such places, those that look most alike first
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
    others = matcher.pictures_like(picture, _LOOKED_AT)
    others = others[matcher.taken_elsewhere(others, T_map_cam)]
    taken = [T_map_cam]
    for _ in range(_TRIES):
        if not len(others) or len(taken) > _PLACES:
            return
        far = matcher.taken_elsewhere(others, matcher.T_map_cam(others[0]))
        found = _seen_among(picture, others[~far][:_TOGETHER], matcher, camera)
        others = others[far]
        if found is not None and all(elsewhere(found.T_map_base, T) for T in taken):
            taken.append(found.T_map_base)
            others = others[matcher.taken_elsewhere(others, found.T_map_base)]
            yield found.T_map_base @ se3.inverse(T_map_cam)


def _seen_among(
    picture: int, others: NDArray[np.int64], matcher: Matcher, camera: Camera
) -> PoseEstimate | None:
    """From where a picture's landmarks would look like those of some others."""
    in_cam, descriptors = matcher.seen_in(picture)
    if not len(in_cam):
        return None
    pixels = camera.project(in_cam)
    rows = np.repeat(np.arange(len(pixels))[:, None], 2, 1)
    matches = matcher.match(descriptors, rows, others)
    seen = SceneCoordinates(pixels[matches.cells[:, 0]], matches.points, matches.confidence)
    found = solve_pnp([Observation(seen, camera, np.eye(4))], _PNP)
    if found is None or found.inliers < _INLIERS or found.inlier_ratio < _INLIER_RATIO:
        return None
    return found
