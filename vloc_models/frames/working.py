"""The size at which networks see pictures."""

from dataclasses import replace

import cv2
import numpy as np

from vloc_models.records import View

_FINE = 0.6  # from here on linear interpolation sees every pixel, in a fifth of the time


def working_view(view: View, short_side_px: int) -> View:
    """``view`` with so many pixels on its shorter side, depth too (nearest), without labels."""
    camera = view.camera
    scale = short_side_px / min(camera.width, camera.height)
    if scale == 1:
        return replace(view, labels=None)
    camera = camera.resized(round(camera.width * scale), round(camera.height * scale))
    size = (camera.width, camera.height)
    way = cv2.INTER_AREA if scale < _FINE else cv2.INTER_LINEAR
    image = np.asarray(cv2.resize(view.image, size, interpolation=way), np.uint8)
    depth = view.depth
    if depth is not None:
        nearest = cv2.INTER_NEAREST_EXACT  # the other one is off by up to a pixel
        depth = np.asarray(cv2.resize(depth, size, interpolation=nearest), np.float32)
    return replace(view, image=image, camera=camera, depth=depth, labels=None)
