"""How right depth is, against a sensor's."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_models.checks import check_shape

_CLOSE = 0.05  # relative error of depth that is fit to place points by


@dataclass
class DepthScore:
    """Relative errors over many pictures, each pixel counted once."""

    pixels: int = 0  # where the truth is known
    compared: int = 0  # of these, where depth is told
    total: float = 0.0  # of the relative errors
    close: int = 0  # of those compared, within 5 %

    def add(self, depth: NDArray[np.floating], truth: NDArray[np.floating]) -> None:
        """Take a picture's depth [H, W] and the true one, metres, NaN where unknown."""
        check_shape(truth, 'H W', 'truth', **check_shape(depth, 'H W', 'depth'))
        known = np.isfinite(truth) & (truth > 0)
        both = known & np.isfinite(depth)
        error = np.abs(depth[both].astype(np.float64) / truth[both] - 1)
        self.pixels += int(known.sum())
        self.compared += len(error)
        self.total += float(error.sum())
        self.close += int((error < _CLOSE).sum())

    @property
    def abs_rel(self) -> float | None:
        """The mean relative error (Eigen et al. 2014); None where nothing was compared."""
        return self.total / self.compared if self.compared else None

    @property
    def share(self) -> float | None:
        """Of the known pixels those compared."""
        return self.compared / self.pixels if self.pixels else None

    @property
    def within_5_percent(self) -> float | None:
        """Of the compared pixels those that are so right."""
        return self.close / self.compared if self.compared else None
