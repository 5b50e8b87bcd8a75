"""Pictures with the map's points drawn over them; no matplotlib, so that a robot can make them."""

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_models.checks import check_shape
from vloc_models.records import Array

Picture = NDArray[np.uint8]
_MOST_POINTS = 600  # in one picture; more hide it
_RIGHT, _OFF = (40, 190, 90), (235, 60, 30)  # RGB of points on a picture


def draw_points(
    image: Picture, pixels: Array, reprojected: Array, inlier: NDArray[np.bool_]
) -> Picture:
    """Draw what the map says of a picture's cells: points where they belong are green dots.

    Any other is a red dot, with a line to it from its cell: as far as it is off, or as much as
    fits the picture well. A point without a pixel is a red dot at its cell.

    Args:
        image: [H, W, 3] RGB.
        pixels: [N, 2] the cells.
        reprojected: [N, 2] where the cells' map points are seen from the pose; NaN for nowhere.
        inlier: [N] which are near enough.
    """
    height, width = check_shape(image, 'H W 3', 'image')['H'], image.shape[1]
    n = check_shape(pixels, 'N 2', 'pixels')['N']
    check_shape(reprojected, 'N 2', 'reprojected', N=n)
    check_shape(inlier, 'N', 'inlier', N=n)
    out = np.ascontiguousarray(image).copy()
    size = max(width, height)
    radius, longest = max(1, round(size / 320)), size / 16
    kept = np.random.default_rng(0).permutation(n)[:_MOST_POINTS]
    kept = kept[np.isfinite(pixels[kept]).all(1)]
    offset = np.clip(np.nan_to_num(reprojected[kept] - pixels[kept]), -1e6, 1e6)
    length = np.linalg.norm(offset, axis=1, keepdims=True)
    offset *= longest / np.maximum(length, longest)
    starts = np.round(pixels[kept]).astype(int)
    ends = np.round(pixels[kept] + offset).astype(int)
    order = np.argsort(inlier[kept], kind='stable')  # green on top
    for start, end, right in zip(
        starts[order].tolist(), ends[order].tolist(), inlier[kept][order], strict=True
    ):
        colour = _RIGHT if right else _OFF
        if not right:
            cv2.line(out, start, end, colour, 1, cv2.LINE_AA)
        cv2.circle(out, end, radius, colour, -1, cv2.LINE_AA)
    return out


def jpeg(image: Picture, max_width: int) -> bytes:
    """A picture [H, W, 3] RGB as JPEG, no wider than that."""
    scale = min(1.0, max_width / image.shape[1])
    size = round(image.shape[1] * scale), max(1, round(image.shape[0] * scale))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image
    done, data = cv2.imencode('.jpg', np.ascontiguousarray(small[..., ::-1]))
    assert done
    return data.tobytes()


def caption(image: Picture, words: str, good: bool) -> Picture:
    """A picture [H, W, 3] RGB with a line of words at its top: green where good, else red."""
    height, width = check_shape(image, 'H W 3', 'image')['H'], image.shape[1]
    scale = width / 1100
    bar = max(1, round(34 * scale))
    out = np.ascontiguousarray(image).copy()
    out[:bar] //= 4
    at = round(8 * scale), min(height - 1, round(24 * scale))
    colour = _RIGHT if good else _OFF
    cv2.putText(out, words, at, cv2.FONT_HERSHEY_SIMPLEX, 0.7 * scale, colour, 1, cv2.LINE_AA)
    return out
