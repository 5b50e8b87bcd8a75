"""What one camera saw, encoded: ready to be compared with a map."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vloc_models.engines.probe import Engine
from vloc_models.geometry.camera import Camera
from vloc_models.records import SceneCoordinates, View
from vloc_models.solvers.pnp import Observation
from vloc_models.solvers.spots import Spots, choose

Array = NDArray[np.float64]
_SURE = 0.25  # a cell likely to be found again; noise, an even wall, a covered lens have 8 at most
_LEAST = 0.1  # of the rig's best camera; half of its lens covered, a camera has more (measured)


@dataclass(frozen=True, eq=False)
class Cells:
    """Some cells of what one camera saw."""

    spots: Spots
    camera: Camera  # of the working size
    T_base_cam: Array  # [4, 4]
    blind: bool = False  # the rig's other cameras see far more
    image: NDArray[np.uint8] | None = None  # [H, W, 3] of the working size

    def seen(self, points: Array, confidence: NDArray[np.float32]) -> Observation:
        """The cells with their map points [N, 3]."""
        found = SceneCoordinates(self.spots.pixels, points, confidence)
        return Observation(found, self.camera, self.T_base_cam)

    def nothing(self) -> Observation:
        """No map points."""
        found = SceneCoordinates(np.zeros((0, 2)), np.zeros((0, 3)), np.zeros(0, np.float32))
        return Observation(found, self.camera, self.T_base_cam)


def encode(encoder: Engine, view: View, every: int) -> Cells:
    """The surest cell of each ``every`` by ``every`` cells of a picture in its working size."""
    spots = choose(encoder({'image': view.image[None]}), every)
    return Cells(spots, view.camera, view.T_base_cam, image=view.image)


def marked(rig: Sequence[Cells]) -> list[Cells]:
    """The cameras of one moment, each with whether it is blind.

    It is dead, covered, in front of an even wall, or sends noise, where hardly any cell is likely
    to be found again, while another camera has many. The best one never is.
    """
    sure = [int((cells.spots.sure > _SURE).sum()) for cells in rig]
    least = _LEAST * max(sure, default=0)
    return [replace(c, blind=count < least) for c, count in zip(rig, sure, strict=True)]
