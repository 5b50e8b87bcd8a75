"""Map points by the map's network of scene coordinates, of whatever kind it is.

ACE's head and the light HSCNet tell the points of the cells they are given; the sparse one is told
a picture of the map that looks alike too, and asked for several; the published HSCNet looks at
the whole image itself.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vloc_models.checks import check_shape
from vloc_models.engines.onnx_engine import OnnxEngine
from vloc_models.engines.probe import Engine, check_probe
from vloc_models.errors import MapError
from vloc_models.geometry import se3
from vloc_models.localize.cells import Cells
from vloc_models.maps import Map, SubMap
from vloc_models.solvers.landmarks import Matcher
from vloc_models.solvers.pnp import Observation

Array = NDArray[np.float64]
Asked = dict[str, NDArray[Any]]
_KINDS = ({'features'}, {'features', 'picture'}, {'image'})
_HINTS = 10  # pictures that the sparse network is told, one after the other
_REBUILD = 'build the map again with "vloc map"'


@dataclass(frozen=True, eq=False)
class Head:
    """A network of scene coordinates, ready to be asked."""

    engine: Engine
    T_frame_map: Array  # [4, 4] into the frame of the answers
    places: Matcher | None = None  # finds the pictures that the sparse network is told

    @staticmethod
    def load(site: Map, submap: SubMap, places: Matcher | None, threads: int) -> 'Head | None':
        """The one of a sub-map, verified against torch's outputs; None if it has none.

        Raises:
            MapError: if it is damaged, or wants what this vloc cannot give.
        """
        if submap.head is None:
            return None
        name = f'{site.folder}: head of sub-map {submap.name}'
        if submap.probe is None:
            raise MapError(f'{name}: has no probe to verify it against', _REBUILD)
        engine = OnnxEngine(site.read_bytes(submap.head), name, threads)
        check_probe(engine, site.read_arrays(submap.probe), name)
        if set(engine.inputs) not in _KINDS or 'points' not in engine.outputs:
            asked, told = sorted(engine.inputs), sorted(engine.outputs)
            raise MapError(f'{name}: tells {told} of {asked}', 'update vloc')
        if 'picture' in engine.inputs and places is None:
            raise MapError(f'{name}: there are no landmarks to find pictures by', _REBUILD)
        return Head(engine, np.array(site.info.T_frame_map), places)

    @property
    def wants_image(self) -> bool:
        """Whether it looks at the image instead of the encoder's features."""
        return 'image' in self.engine.inputs

    def told(self, rig: Sequence[Cells]) -> Iterator[list[Observation]]:
        """What it tells of the cells of each camera: once, or once for each hint."""
        asked = [self._input(cells) for cells in rig]
        if self.places is None or 'picture' not in self.engine.inputs:
            yield [self._ask(*one) for one in zip(rig, asked, strict=True)]
            return
        alike = [
            self.places.alike_pictures(self.places.short(c.spots.features), c.spots.sure, _HINTS)
            for c in rig
        ]
        for hints in np.stack(alike, 1):  # one for each camera
            given = zip(rig, asked, hints, strict=True)
            yield [self._ask(cells, one | {'picture': hint[None]}) for cells, one, hint in given]

    def _input(self, cells: Cells) -> Asked:
        if self.wants_image:
            assert cells.image is not None
            return {'image': cells.image[None]}
        return {'features': np.ascontiguousarray(cells.spots.features.T[None, :, None])}

    def _ask(self, cells: Cells, asked: Asked) -> Observation:
        told, count = self.engine(asked), len(cells.spots.pixels)
        sure = cells.spots.sure
        row, column = cells.spots.cells.T if self.wants_image else (0, np.arange(count))
        h, w = cells.spots.grid.shape[:2] if self.wants_image else (1, count)
        check_shape(told['points'], '1 3 h w', 'points', h=h, w=w)
        points = told['points'][0][:, row, column].T.astype(np.float64)
        if 'sure' in told:
            check_shape(told['sure'], '1 1 h w', 'sure', h=h, w=w)
            sure = sure * told['sure'][0, 0, row, column]
        with np.errstate(invalid='ignore'):  # an infinite point becomes NaN: left out all the same
            return cells.seen(se3.apply(self.T_frame_map, points), sure)
