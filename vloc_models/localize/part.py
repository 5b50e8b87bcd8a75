"""One part of the map, asked for the pictures of one moment."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vloc_models.errors import MapError
from vloc_models.localize.by_head import Head
from vloc_models.localize.by_landmarks import Answer, Search, Solve
from vloc_models.localize.cells import Cells
from vloc_models.maps import Map, SubMap
from vloc_models.solvers.landmarks import Landmarks, Matcher
from vloc_models.solvers.pnp import Observation

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Part:
    """A sub-map, ready to be asked."""

    submap: SubMap
    head: Head | None = None
    landmarks: Matcher | None = None

    @staticmethod
    def load(site: Map, submap: SubMap, use: str, threads: int) -> 'Part':
        """What a sub-map has of what is to be used: head, landmarks, or both.

        Raises:
            MapError: if it is damaged, has nothing of that, or is of another encoder.
        """
        where = f'{site.folder}: sub-map {submap.name}'
        if submap.encoder and submap.encoder != site.info.encoder.sha256:
            raise MapError(f'{where} was made with another encoder than the map', _REBUILD)
        places = _landmarks_of(site, submap)
        head = None if use == 'landmarks' else Head.load(site, submap, places, threads)
        landmarks = None if use == 'head' else places
        if head is None and landmarks is None:
            has = {'both': 'neither head nor landmarks', 'head': 'no head'}.get(use, f'no {use}')
            raise MapError(f'{where} has {has}', 'use what it has, or build it again')
        return Part(submap, head, landmarks)

    def look(self, seeing: Sequence[Cells], solve: Solve, prior: Array | None) -> 'Look':
        """What those cameras see that see, to be found in this part."""

        def told(seen: Sequence[Observation], first: Array | None) -> Answer:
            return replace(solve(seen, first), submap=self.submap)

        return Look(self, seeing, told, prior)


@dataclass(frozen=True, eq=False)
class Look:
    """One search in one part."""

    part: Part
    seeing: Sequence[Cells]
    solve: Solve
    prior: Array | None  # T_map_base [4, 4]

    @cached_property
    def search(self) -> Search | None:
        """Among the landmarks, prepared when it is first wanted; None without any."""
        marks = self.part.landmarks
        return None if marks is None else Search.of(self.seeing, marks, self.solve)

    def answers(self) -> Iterator[Answer]:
        """The quickest first."""
        head = self.part.head
        if self.search is None:
            assert head is not None
            yield from (self.solve(told, self.prior) for told in head.told(self.seeing))
            return
        yield from self.search.anywhere()
        if head is not None:
            for told in head.told(self.seeing):
                yield self.search.improved(self.search.solve(told, self.prior))
        yield from self.search.one_by_one()

    def around(self, guess: Array | None) -> Answer | None:
        """What is found from a pose T_map_base on; None without one, or without landmarks."""
        return None if self.search is None or guess is None else self.search.around(guess)

    def pictures(self) -> list[Array]:
        """As ``Search.pictures``; none without landmarks."""
        return [] if self.search is None else self.search.pictures()

    def rivals(self, best: Answer, least: float) -> Iterator[Answer]:
        """Answers of this part that may look like one of any part, as ``Search.rivals``."""
        if self.search is None:
            return
        own = best.submap == self.part.submap
        yield from self.search.rivals(best, least) if own else self.search.rival(best, least)


_REBUILD = 'build the map again with "vloc map"'


def _landmarks_of(site: Map, submap: SubMap) -> Matcher | None:
    if submap.landmarks is None:
        return None
    where = f'{site.folder}/{submap.landmarks}'
    landmarks = Landmarks.of_arrays(site.read_arrays(submap.landmarks), where)
    return Matcher(landmarks, np.array(site.info.T_frame_map))
