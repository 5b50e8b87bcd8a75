"""Which of the map's pictures look most like one: its index of places, asked as it was made."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_models.engines.probe import Engine
from vloc_models.errors import MapError
from vloc_models.frames.working import working_view
from vloc_models.localize.cells import Cells, encode
from vloc_models.localize.encoder import encoder_of
from vloc_models.maps import Map
from vloc_models.records import View
from vloc_models.solvers.retrieval import Nearest, PlaceIndex, Places

_EVERY = 2  # cells; as when the map was made


def index_of(site: Map) -> PlaceIndex:
    """The index of a map, in the frame that users see.

    Raises:
        MapError: if it has none, or one that is not whole.
    """
    name = site.info.index
    if name is None:
        raise MapError(
            f'{site.folder}: has no index of places', 'build it again with this "vloc map"'
        )
    places = Places.of_arrays(site.read_arrays(name), f'{site.folder}/{name}')
    return PlaceIndex(places, np.array(site.info.T_frame_map))


@dataclass(frozen=True, eq=False)
class Finder:
    """Finds the map's pictures of a place."""

    index: PlaceIndex
    encoder: Engine
    short_side_px: int  # of the pictures it is shown

    @staticmethod
    def of(site: Map, threads: int = 0) -> 'Finder':
        """Of an opened map.

        Raises:
            MapError: if it has no index, or was made with an encoder that is not here.
        """
        index = index_of(site)
        return Finder(index, encoder_of(site, threads), site.info.encoder.short_side_px)

    def __call__(self, view: View, most: int) -> Nearest:
        """The pictures that look most like what a camera sees, at most so many."""
        view = working_view(view, self.short_side_px)
        return self.index.nearest(described(encode(self.encoder, view, _EVERY), self.index), most)


def described(cells: Cells, index: PlaceIndex) -> NDArray[np.float32]:
    """The numbers [D] of what one camera saw, to ask an index with."""
    return index.describe(cells.spots.features, cells.spots.sure)
