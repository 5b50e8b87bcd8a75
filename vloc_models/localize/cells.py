"""What one camera saw, encoded: ready to be compared with a map."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_models.engines.probe import Engine
from vloc_models.geometry.camera import Camera
from vloc_models.records import SceneCoordinates, View
from vloc_models.solvers.pnp import Observation
from vloc_models.solvers.spots import Spots, choose

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Cells:
    """Some cells of what one camera saw."""

    spots: Spots
    camera: Camera  # of the working size
    T_base_cam: Array  # [4, 4]

    def seen(self, points: Array, confidence: NDArray[np.float32]) -> Observation:
        """The cells with their map points [N, 3]."""
        found = SceneCoordinates(self.spots.pixels, points, confidence)
        return Observation(found, self.camera, self.T_base_cam)


def encode(encoder: Engine, view: View, every: int) -> Cells:
    """The surest cell of each ``every`` by ``every`` cells of a picture in its working size."""
    return Cells(choose(encoder({'image': view.image[None]}), every), view.camera, view.T_base_cam)
