"""Which images belong to one moment, planned from the stamps alone, then filled as they come."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush

import numpy as np
from numpy.typing import NDArray

Stamps = NDArray[np.int64]
_REORDER = 16  # messages of one topic may be recorded this far out of order
_MAX_WAITING = 256 << 20  # bytes of images that wait for their partners


def rising(stamps: Sequence[int]) -> tuple[Stamps, int, int]:
    """The stamps in order, as a reader with a small buffer sees them.

    Returns:
        The rising stamps [N], the number of duplicates left out, and the number left out because
        they jump back further than the buffer.
    """
    waiting: list[int] = []
    out: list[int] = []
    duplicates = backward = 0
    for i in range(len(stamps) + _REORDER):
        if i < len(stamps):
            heappush(waiting, stamps[i])
        if waiting and (len(waiting) > _REORDER or i >= len(stamps)):
            stamp = heappop(waiting)
            if not out or stamp > out[-1]:
                out.append(stamp)
            elif stamp == out[-1]:
                duplicates += 1
            else:
                backward += 1
    return np.array(out, np.int64), duplicates, backward


def match(a: Stamps, b: Stamps, within_ns: int) -> NDArray[np.int64]:
    """For each of the rising stamps ``a`` the index of its partner in rising ``b``, or -1.

    Partners are nearest to each other, both ways, so none is used twice.
    """
    if not len(a) or not len(b):
        return np.full(len(a), -1)
    to_b, to_a = _nearest(a, b), _nearest(b, a)
    good = (to_a[to_b] == np.arange(len(a))) & (np.abs(b[to_b] - a) <= within_ns)
    return np.where(good, to_b, -1)


def _nearest(a: Stamps, b: Stamps) -> NDArray[np.int64]:
    right = np.clip(np.searchsorted(b, a), 1, max(len(b) - 1, 1))
    if len(b) == 1:
        return np.zeros(len(a), np.int64)
    return np.where(a - b[right - 1] <= b[right] - a, right - 1, right)


@dataclass(frozen=True)
class Moment:
    """The image stamps that make one frame."""

    stamp_ns: int
    images: tuple[int | None, ...]  # one a camera, None where it has none
    depths: tuple[int | None, ...]
    labels: tuple[int | None, ...]


def plan(
    images: Sequence[Stamps], depths: Sequence[Stamps], labels: Sequence[Stamps], within_ns: int
) -> list[Moment]:
    """Join the stamps of all cameras into moments, in rising order.

    A camera that misses a moment is None in it; where the first camera misses, the next one that
    has an image gives the stamp.

    Args:
        images: rising stamps, one array a camera.
        depths: the same for depth, empty arrays for cameras without.
        labels: the same for labels.
        within_ns: stamps of one moment differ by no more.
    """
    groups: dict[int, list[int | None]] = {}
    free = list(images)
    for first in range(len(images)):
        stamps = free[first]
        partners = [
            match(stamps, free[k], within_ns) if k > first else np.full(len(stamps), -1)
            for k in range(len(images))
        ]
        for i, stamp in enumerate(stamps.tolist()):
            row: list[int | None] = [
                int(free[k][p[i]]) if p[i] >= 0 else None for k, p in enumerate(partners)
            ]
            row[first] = stamp
            groups.setdefault(stamp, row)
        for k in range(first + 1, len(images)):
            free[k] = np.delete(free[k], partners[k][partners[k] >= 0])
    joined = [_partners(images[k], depths[k], within_ns) for k in range(len(images))]
    tagged = [_partners(images[k], labels[k], within_ns) for k in range(len(images))]
    return [
        Moment(
            stamp,
            tuple(row),
            tuple(joined[k].get(s) if s is not None else None for k, s in enumerate(row)),
            tuple(tagged[k].get(s) if s is not None else None for k, s in enumerate(row)),
        )
        for stamp, row in sorted(groups.items())
    ]


def _partners(a: Stamps, b: Stamps, within_ns: int) -> dict[int, int]:
    partner = match(a, b, within_ns)
    used = partner >= 0
    return dict(zip(a[used].tolist(), b[partner[used]].tolist(), strict=True))


@dataclass
class Assembler:
    """Collects the messages of planned moments; gives each out when it is whole, in order."""

    wanted: list[set[tuple[str, int]]]  # (topic, stamp) of each moment
    given_up: int = 0  # messages that did not come in time
    _next: int = 0
    _bytes: int = 0
    _home: dict[tuple[str, int], int] = field(default_factory=dict)
    _waiting: dict[int, dict[str, bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._home = {key: i for i, keys in enumerate(self.wanted) for key in keys}

    def add(self, topic: str, stamp_ns: int, raw: bytes) -> Iterator[tuple[int, dict[str, bytes]]]:
        """Take a message; yields (number, messages by topic) of what is whole now."""
        i = self._home.pop((topic, stamp_ns), None)
        if i is None or i < self._next:
            return
        self._waiting.setdefault(i, {})[topic] = raw
        self._bytes += len(raw)
        while self._next < len(self.wanted):
            parts = self._waiting.get(self._next, {})
            if len(parts) < len(self.wanted[self._next]) and self._bytes <= _MAX_WAITING:
                return
            yield from self._release(parts)

    def flush(self) -> Iterator[tuple[int, dict[str, bytes]]]:
        """What waits still, at the end of the bag."""
        while self._next < len(self.wanted):
            yield from self._release(self._waiting.get(self._next, {}))

    def _release(self, parts: dict[str, bytes]) -> Iterator[tuple[int, dict[str, bytes]]]:
        number = self._next
        self._next += 1
        self._waiting.pop(number, None)
        self._bytes -= sum(len(raw) for raw in parts.values())
        self.given_up += len(self.wanted[number]) - len(parts)
        if parts:
            yield number, parts
