"""All parts of the map, and in which of them to look."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_models.errors import MapError
from vloc_models.localize.by_head import Head
from vloc_models.localize.cells import Cells
from vloc_models.localize.part import Part
from vloc_models.localize.retrieve import described, index_of
from vloc_models.maps import Map, SubMap
from vloc_models.solvers.landmarks import Matcher
from vloc_models.solvers.retrieval import Nearest, PlaceIndex

_log = logging.getLogger(__name__)
Array = NDArray[np.float64]
_VOTERS = 20  # pictures of the map that look most like each camera's
_REBUILD = 'build the map again with "vloc map"'


@dataclass(frozen=True, eq=False)
class Parts:
    """The parts of a map that can be used."""

    usable: tuple[Part, ...]  # one at least
    index: PlaceIndex | None = None  # of the pictures of all; None: every part is looked in
    names: tuple[str, ...] = ()  # of the sub-maps, by the index's numbers

    @staticmethod
    def one(head: Head | None = None, landmarks: Matcher | None = None) -> 'Parts':
        """Of a place that is not divided."""
        return Parts((Part(SubMap('00', (0.0, 0.0, 0.0)), head, landmarks),))

    @staticmethod
    def load(site: Map, use: str, threads: int) -> 'Parts':
        """Of a map; parts that are damaged are left out where there are others.

        Raises:
            MapError: if none can be used, or the index is damaged.
        """
        found = [_loaded(site, submap, use, threads) for submap in site.info.submaps]
        usable = tuple(part for part in found if isinstance(part, Part))
        faults = [part for part in found if isinstance(part, MapError)]
        if not usable:
            raise faults[0] if faults else MapError(f'{site.folder}: has no sub-map', _REBUILD)
        for fault in faults:
            _log.warning(f'left out: {fault}')
        return Parts(usable, _index_of(site), tuple(s.name for s in site.info.submaps))

    @property
    def points(self) -> NDArray[np.float32]:
        """The landmarks of all [M, 3], in the map."""
        found = [part.landmarks.points for part in self.usable if part.landmarks is not None]
        return np.concatenate(found) if found else np.zeros((0, 3), np.float32)

    @property
    def head_alone(self) -> bool:
        """Whether there are no landmarks at all."""
        return all(part.landmarks is None for part in self.usable)

    def likely(
        self, seeing: Sequence[Cells], prior: Array | None, most: int, share: float
    ) -> Iterator[Part]:
        """Where to look: where the prior is, and where it looks most like what is seen.

        That is where most of the pictures that look like it were taken, and where the one was
        that looks most like it. They are compared only when more than the prior's part is wanted.

        Args:
            seeing: what each camera sees.
            prior: T_map_base [4, 4].
            most: of those that are voted for.
            share: of the votes of the first of these, that another one needs.
        """
        if self.index is None or len(self.usable) == 1:
            yield from self.usable
            return
        told = set[str]()
        for number in self._chosen(self.index, seeing, prior, most, share):
            name = self.names[number]
            part = next((p for p in self.usable if p.submap.name == name), None)
            if part is not None and name not in told:
                told.add(name)
                yield part
        if not told:
            yield from self.usable

    def _chosen(
        self,
        index: PlaceIndex,
        seeing: Sequence[Cells],
        prior: Array | None,
        most: int,
        share: float,
    ) -> Iterator[int]:
        if prior is not None:
            away = np.linalg.norm(index.T_map_cam[:, :3, 3] - prior[:3, 3], axis=1)
            yield int(index.submap[away.argmin()])
        alike = [index.nearest(described(cells, index), _VOTERS) for cells in seeing]
        votes = self._votes(index, alike)
        best = np.argsort(-votes, kind='stable')[:most].tolist()
        yield from (number for number in best if votes[number] >= share * votes[best[0]])
        yield from (int(index.submap[found.numbers[0]]) for found in alike)

    def _votes(self, index: PlaceIndex, alike: Sequence[Nearest]) -> Array:
        """Of the pictures that look most like what is seen, for each sub-map; near ones count."""
        votes = np.zeros(len(self.names))
        for numbers, likeness in alike:
            away = np.sqrt(np.maximum(2 - 2 * likeness, 0))
            weight = np.exp(-away / max(float(np.median(away)), 1e-6))
            np.add.at(votes, index.submap[numbers], weight)
        return votes


def _loaded(site: Map, submap: SubMap, use: str, threads: int) -> Part | MapError:
    try:
        return Part.load(site, submap, use, threads)
    except MapError as e:
        return e


def _index_of(site: Map) -> PlaceIndex | None:
    if site.info.index is None:
        return None
    index = index_of(site)
    if index.submap.max() >= len(site.info.submaps):
        where = f'{site.folder}/{site.info.index}'
        raise MapError(f'{where}: names a sub-map that is not there', _REBUILD)
    return index
