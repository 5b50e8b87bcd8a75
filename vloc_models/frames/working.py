"""The size at which networks see pictures."""

from dataclasses import replace

import cv2
import numpy as np

from vloc_models.records import View

_FINE = 0.6  # from here on linear interpolation sees every pixel, in a fifth of the time
_NEAREST = cv2.INTER_NEAREST_EXACT  # the other one is off by up to a pixel


def working_view(view: View, short_side_px: int) -> View:
    """``view`` with so many pixels on its shorter side; depth and labels too (nearest)."""
    camera = view.camera
    scale = short_side_px / min(camera.width, camera.height)
    if scale == 1:
        return view
    camera = camera.resized(round(camera.width * scale), round(camera.height * scale))
    size = (camera.width, camera.height)
    way = cv2.INTER_AREA if scale < _FINE else cv2.INTER_LINEAR
    image = np.asarray(cv2.resize(view.image, size, interpolation=way), np.uint8)
    depth, labels, valid = view.depth, view.labels, view.valid
    if depth is not None:
        depth = np.asarray(cv2.resize(depth, size, interpolation=_NEAREST), np.float32)
    if labels is not None:
        labels = np.asarray(cv2.resize(labels, size, interpolation=_NEAREST), np.uint8)
    if valid is not None:
        grey = cv2.resize(valid.astype(np.uint8), size, interpolation=_NEAREST)
        valid = np.asarray(grey) > 0
    return replace(view, image=image, camera=camera, depth=depth, labels=labels, valid=valid)
