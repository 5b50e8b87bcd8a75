"""Which images belong to one moment: of a bag planned from the stamps alone, or as they come."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Part = TypeVar('Part')
Stamps = NDArray[np.int64]
_REORDER = 16  # messages of one topic may be recorded this far out of order
_GONE = 16  # moments that are remembered: what comes late for one is left out
_SILENT = 3  # moments that a camera misses, after which none waits for it
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


@dataclass
class _Open(Generic[Part]):
    """A moment that may not be whole yet."""

    since_s: float
    stamps: dict[int, int] = field(default_factory=dict)  # by camera
    parts: dict[int, Part] = field(default_factory=dict)

    @property
    def stamp_ns(self) -> int:
        """Of the first camera that came."""
        return self.stamps[min(self.stamps)]


class Grouping(Generic[Part]):
    """Joins what the cameras of a rig send live into moments, as ``plan`` does for a bag.

    A moment waits for those cameras that may still send something for it, but not for long, and
    not for those that have been silent.
    """

    def __init__(self, cameras: int, within_ns: int, wait_s: float) -> None:
        """Nothing has come yet.

        Args:
            cameras: how many there are; each sends rising stamps.
            within_ns: stamps of one moment differ by no more from the first camera's.
            wait_s: a moment is kept back no longer.
        """
        self._cameras, self._within_ns, self._wait_s = range(cameras), within_ns, wait_s
        self.clear()

    def clear(self) -> None:
        """Forget everything: the stamps start anew."""
        self._open: list[_Open[Part]] = []
        self._gone = deque[_Open[Part]](maxlen=_GONE)
        self._newest = dict.fromkeys(self._cameras, -1)
        self._missed = dict.fromkeys(self._cameras, 0)  # moments since it sent anything

    def add(self, camera: int, stamp_ns: int, part: Part, now_s: float) -> bool:
        """Take what a camera sent; False if its moment has gone without it.

        Args:
            camera: which, from 0 on.
            stamp_ns: when it was taken.
            part: what was sent.
            now_s: by a clock that never goes back.
        """
        self._missed[camera] = 0
        self._newest[camera] = max(stamp_ns, self._newest[camera])
        if self._nearest(self._gone, camera, stamp_ns) is not None:
            return False
        moment = self._nearest(self._open, camera, stamp_ns)
        if moment is None:
            moment = _Open[Part](now_s)
            self._open.append(moment)
        moment.stamps[camera], moment.parts[camera] = stamp_ns, part
        return True

    def ready(self, now_s: float) -> Iterator[list[Part]]:
        """The moments that need not wait any more, in order; each in the order of the cameras."""
        while self._open:
            moment = min(self._open, key=lambda moment: moment.stamp_ns)
            if self._awaited(moment) and now_s - moment.since_s < self._wait_s:
                return
            self._open.remove(moment)
            parts = [moment.parts[camera] for camera in sorted(moment.parts)]
            moment.parts = {}  # only its stamps are remembered
            self._gone.append(moment)
            for camera in self._cameras:
                self._missed[camera] += camera not in moment.stamps
            yield parts

    def _nearest(
        self, moments: Sequence[_Open[Part]], camera: int, stamp_ns: int
    ) -> _Open[Part] | None:
        """The moment that lacks this camera and is nearest to a stamp."""
        away = [(abs(m.stamp_ns - stamp_ns), i) for i, m in enumerate(moments)]
        fits = [(ns, i) for ns, i in away if camera not in moments[i].stamps]
        ns, i = min(fits, default=(self._within_ns + 1, 0))
        return moments[i] if ns <= self._within_ns else None

    def _awaited(self, moment: _Open[Part]) -> bool:
        """Whether a camera may still send something for it."""
        return any(
            camera not in moment.stamps
            and self._newest[camera] < moment.stamp_ns
            and self._missed[camera] < _SILENT
            for camera in self._cameras
        )
