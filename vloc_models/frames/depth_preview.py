"""One picture that shows depth: pictures, and beneath each its depth in colours."""

import cv2
import numpy as np
from numpy.typing import NDArray

_TILE = (320, 240)
_COLUMNS = 4


class DepthPreview:
    """Collects pictures evenly from those it is shown, and draws them.

    Args:
        count: how many it will be shown.
        pictures: how many it keeps.
    """

    def __init__(self, count: int, pictures: int = 8) -> None:
        self._wanted = set(np.linspace(0, count - 1, pictures).astype(int).tolist())
        self._shown = 0
        self._kept: list[tuple[NDArray[np.uint8], NDArray[np.float32]]] = []

    def show(self, image: NDArray[np.uint8], depth: NDArray[np.float32]) -> None:
        """A picture [H, W, 3] and its depth [H, W], NaN where unknown."""
        if self._shown in self._wanted:
            small = cv2.resize(image, _TILE, interpolation=cv2.INTER_AREA)
            sparse = cv2.resize(depth, _TILE, interpolation=cv2.INTER_NEAREST_EXACT)
            self._kept.append((np.asarray(small, np.uint8), np.asarray(sparse, np.float32)))
        self._shown += 1

    def sheet(self) -> NDArray[np.uint8]:
        """The picture [H, W, 3]; near is red, far is blue, unknown is black."""
        tiles = self._kept + [self._kept[-1]] * (-len(self._kept) % _COLUMNS)
        depths = np.stack([depth for _, depth in tiles])
        known = depths[np.isfinite(depths)]
        near, far = np.quantile(known, [0.02, 0.98]) if known.size else (1.0, 2.0)
        columns = [np.vstack([image, _colours(depth, near, far)]) for image, depth in tiles]
        rows = [np.hstack(columns[i : i + _COLUMNS]) for i in range(0, len(columns), _COLUMNS)]
        return np.vstack(rows)

    def write(self, path: str) -> bool:
        """Draw and save as the file name's ending says; False if it could not be written."""
        return bool(self._kept) and cv2.imwrite(path, self.sheet()[..., ::-1])


def _colours(depth: NDArray[np.float32], near: float, far: float) -> NDArray[np.uint8]:
    """Inverse depth in colours, RGB [H, W, 3]."""
    known = np.isfinite(depth) & (depth > 0)
    inverse = 1 / np.where(known, depth, far)
    share = (inverse - 1 / far) / max(1 / near - 1 / far, 1e-6)
    grey = (255 * np.clip(share, 0, 1)).astype(np.uint8)
    colours = np.asarray(cv2.applyColorMap(grey, cv2.COLORMAP_TURBO))[..., ::-1]
    return np.where(known[..., None], colours, 0).astype(np.uint8)
