"""What ``vloc evaluate`` tells: the figures in words, and the report with the worst frames."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from vloc_models.frames.source import FrameSource
from vloc_models.localize.by_landmarks import Answer
from vloc_models.localize.overlay import draw_map_points
from vloc_models.localize.replay import Replay
from vloc_models.maps import MapInfo
from vloc_models.metrics import html, trajectory
from vloc_models.records import Fix, Frame, Trajectory, View


class Explains(Protocol):
    """What of a Localizer is needed here."""

    @property
    def info(self) -> MapInfo:
        """What map.yaml says."""
        ...

    def explain(self, views: Sequence[View]) -> Answer:
        """A fix with the map points it comes from."""
        ...


@dataclass(frozen=True, eq=False)
class Result:
    """A replay and its figures."""

    done: Replay
    score: trajectory.Score
    truth: Trajectory  # T_map_cam
    estimate: Trajectory
    map_bytes: int
    map_seconds: float | None

    def percentile_ms(self, q: float) -> float:
        """Of the latency of a frame."""
        return float(np.percentile(self.done.latency_ms, q)) if self.done.fixes else math.nan


def figures(result: Result) -> list[tuple[str, str]]:
    """Name and value of everything that is told."""
    s = result.score
    rows = [
        (f'recall at {m * 100:.0f} cm, {deg} deg', html.number(share * 100, '%'))
        for (m, deg), share in zip(trajectory.THRESHOLDS, s.recall, strict=True)
    ]
    ms = [html.number(result.percentile_ms(q)) for q in (50, 90, 99)]
    median = f'{html.number(s.median_cm, "cm")}, {html.number(s.median_deg, "deg", 2)}'
    answered = html.number(s.answered_median_cm, 'cm')
    return [
        *rows,
        ('median error, all frames', median if math.isfinite(s.median_cm) else 'no pose'),
        ('answered', f'{s.answered} of {s.queries}, median {answered}'),
        ('accepted', f'{s.accepted} of {s.frames}'),
        ('false accepts', str(s.false_accepts)),
        ('latency: median, 90 %, 99 %', f'{ms[0]}, {ms[1]}, {ms[2]} ms'),
        ('map size', f'{result.map_bytes / 2**20:.2f} MiB'),
    ]


def write_report(
    path: Path,
    names: tuple[Path, Path],
    localizer: Explains,
    source: FrameSource,
    result: Result,
    worst: int,
) -> None:
    """Write the HTML report.

    Args:
        path: the file.
        names: the recording and the map.
        localizer: looks at the worst frames once more, for their map points.
        source: the recording.
        result: what came of it.
        worst: how many frames to show.
    """
    bag, map_folder = names
    about = [('map', str(map_folder)), ('recording', str(bag))]
    page = html.Evaluation(
        f'{bag.resolve().name} in {map_folder.resolve().name}',
        [*about, *_facts(source, localizer.info)],
        figures(result),
        result.truth,
        result.estimate,
        result.done.inliers,
        [(verdict.value, reason, n) for verdict, reason, n in result.done.reasons()],
        _worst_frames(localizer, source, result, worst),
    )
    html.write_html(path, page)


def _facts(source: FrameSource, info: MapInfo) -> list[tuple[str, str]]:
    """What else a reader of the report must know."""
    seconds = (source.span_ns[1] - source.span_ns[0]) / 1e9
    made = info.provenance
    return [
        ('frames', f'{len(source)} in {seconds:.1f} s'),
        ('cameras', ', '.join(mount.name for mount in source.cameras)),
        ('truth', source.poses_source),
        ('map made from', ', '.join(made.bags) or 'unknown'),
        ('map made on', ', '.join(x for x in (made.date, made.vloc, made.commit) if x) or '?'),
    ]


def _worst_frames(
    localizer: Explains, source: FrameSource, result: Result, most: int
) -> list[html.WorstFrame]:
    """False accepts first, then the largest errors; no pose is infinitely wrong."""
    e = trajectory.errors(result.truth, result.estimate)
    false = trajectory.false_accepts(result.estimate, e)
    wrong = np.where(e.estimate >= 0, np.append(false, False)[e.estimate], False)
    worst = np.lexsort([-e.error_deg, -e.error_m, ~wrong])[:most].tolist()
    fixes = dict(zip(result.done.stamps_ns.tolist(), result.done.fixes, strict=True))
    wanted = {int(result.truth.stamps_ns[i]): i for i in worst}
    pictures: dict[int, html.WorstFrame] = {}
    for frame in source.frames() if wanted else ():
        if (i := wanted.get(frame.stamp_ns)) is None:
            continue
        error_m, error_deg = float(e.error_m[i]), float(e.error_deg[i])
        far = f'{html.number(error_m * 100, "cm")}, {html.number(error_deg, "deg", 2)}'
        told = far if math.isfinite(error_m) else 'no pose'
        pictures[i] = _picture(localizer, frame, fixes[frame.stamp_ns], told)
        if len(pictures) == len(wanted):
            break
    return [pictures[i] for i in worst if i in pictures]


def _picture(localizer: Explains, frame: Frame, fix: Fix, error: str) -> html.WorstFrame:
    """The first camera's view with the map's points where the true pose sees them."""
    assert frame.T_map_base is not None  # it is in the truth
    answer = localizer.explain(frame.views)
    image = draw_map_points(frame.views[0], answer, frame.T_map_base)
    title = f'{frame.stamp_ns / 1e9:.3f} s: {error}'
    return html.WorstFrame(image, title, (f'{fix.verdict.value}: {fix.reason}',))
