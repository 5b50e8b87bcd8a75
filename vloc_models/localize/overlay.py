"""The picture that a person looks at: what the map says of an image, and what came of it."""

import numpy as np

from vloc_models.frames.working import working_view
from vloc_models.geometry import se3
from vloc_models.localize.by_landmarks import Answer
from vloc_models.metrics import pictures
from vloc_models.records import Array, Verdict, View

_INLIER_PX = 10.0  # green


def draw_map_points(
    view: View, answer: Answer, T_map_base: Array | None = None
) -> pictures.Picture:
    """The map points of the first camera's cells, drawn where a pose sees them.

    Args:
        view: what the first camera saw.
        answer: what the localizer explained it by.
        T_map_base: the pose; None takes the answer's own.

    Returns:
        [H, W, 3] RGB in the working size; without a pose the picture alone.
    """
    seen = answer.observations[0]
    # what the localizer sees, and counts pixels in
    image = working_view(view, min(seen.camera.width, seen.camera.height)).image
    if T_map_base is None and answer.fix.estimate is not None:
        T_map_base = answer.fix.estimate.T_map_base
    if T_map_base is None:
        return image
    T_cam_map = se3.inverse(T_map_base @ seen.T_base_cam)
    reprojected = seen.camera.project(se3.apply(T_cam_map, seen.coordinates.points))
    near = np.linalg.norm(reprojected - seen.coordinates.pixels, axis=1) <= _INLIER_PX
    return pictures.draw_points(image, seen.coordinates.pixels, reprojected, near)


def overlay_jpeg(view: View, answer: Answer, max_width: int = 640) -> bytes:
    """A jpeg of the picture with its map points, and the verdict in words."""
    good = answer.fix.verdict is Verdict.ACCEPTED
    words = f'{answer.fix.verdict.value}: {answer.fix.reason}'
    return pictures.jpeg(pictures.caption(draw_map_points(view, answer), words, good), max_width)
