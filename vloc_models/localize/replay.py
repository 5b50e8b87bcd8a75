"""A recording goes through a localizer, frame by frame: the answers, and how long each took."""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vloc_models.frames.source import FrameSource
from vloc_models.records import Array, Fix, Trajectory, Verdict, View

Report = Callable[[int, int], None]
_NUMBER = re.compile(r'\d+(?:\.\d+)?')


class Locates(Protocol):
    """What of a Localizer is needed here."""

    def locate(self, views: Sequence[View], prior: Array | None = None, stamp_ns: int = 0) -> Fix:
        """The pose of the robot from its cameras' views of one moment."""
        ...


@dataclass(frozen=True, eq=False)
class Replay:
    """What a localizer said to every frame of a recording."""

    stamps_ns: NDArray[np.int64]  # [N] of all frames, rising
    fixes: tuple[Fix, ...]  # [N]
    latency_ms: Array  # [N] reading, decoding and locating
    truth: Trajectory  # T_map_base of the frames that have one

    def estimates(self) -> Trajectory:
        """T_map_base of every fix that has an estimate; marked where it is accepted."""
        solved = np.array([fix.estimate is not None for fix in self.fixes], bool)
        accepted = np.array([fix.verdict is Verdict.ACCEPTED for fix in self.fixes], bool)
        T = np.array([fix.estimate.T_map_base for fix in self.fixes if fix.estimate], np.float64)
        return Trajectory(self.stamps_ns[solved], T.reshape(-1, 4, 4), accepted[solved])

    @property
    def inliers(self) -> NDArray[np.int64]:
        """[M] of the fixes with an estimate."""
        return np.array([f.estimate.inliers for f in self.fixes if f.estimate], np.int64)

    def reasons(self) -> list[tuple[Verdict, str, int]]:
        """How often each verdict was given for each reason, the most frequent first.

        Reasons that differ in their numbers only are one, told with the range of the numbers.
        """
        groups: dict[tuple[Verdict, str], list[str]] = {}
        for fix in self.fixes:
            key = fix.verdict, _NUMBER.sub('0', fix.reason)
            groups.setdefault(key, []).append(fix.reason)
        told = [(verdict, _in_one(said), len(said)) for (verdict, _), said in groups.items()]
        return sorted(told, key=lambda row: -row[2])


def replay(localizer: Locates, source: FrameSource, report: Report | None = None) -> Replay:
    """Ask a localizer about every frame of a recording, each on its own.

    Args:
        localizer: a Localizer.
        source: the recording; its pictures are decoded within the time that is measured.
        report: called with (frames done, frames in all), outside of that time.

    Raises:
        BagError: if the recording is damaged.
    """
    total = len(source)
    _ = source.poses_source, source.odom_source  # look for them before the clock runs
    fixes: list[Fix] = []
    latency_ms: list[float] = []
    stamps_ns: list[int] = []
    truth: list[tuple[int, Array]] = []
    frames = source.frames()
    while True:
        start = time.perf_counter()
        frame = next(frames, None)
        if frame is None:
            break
        fix = localizer.locate(frame.views, stamp_ns=frame.stamp_ns)
        latency_ms.append((time.perf_counter() - start) * 1e3)
        fixes.append(fix)
        stamps_ns.append(frame.stamp_ns)
        if frame.T_map_base is not None:
            truth.append((frame.stamp_ns, frame.T_map_base))
        if report:
            report(len(fixes), total)
    return Replay(
        np.array(stamps_ns, np.int64),
        tuple(fixes),
        np.array(latency_ms, np.float64),
        Trajectory.of((s for s, _ in truth), (T for _, T in truth)),
    )


def _in_one(reasons: list[str]) -> str:
    """One sentence for those that differ in their numbers only."""
    slots = zip(*(_NUMBER.findall(reason) for reason in reasons), strict=True)
    ranges = []
    for slot in slots:
        low, high = min(slot, key=float), max(slot, key=float)
        ranges.append(low if float(low) == float(high) else f'{low} to {high}')
    numbers = iter(ranges)
    return _NUMBER.sub(lambda _: next(numbers), reasons[0])
