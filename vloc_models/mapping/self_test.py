"""Ask a map for pictures it has not seen, the way a robot will."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vloc_models import config
from vloc_models.frames.keyframes import Keyframe
from vloc_models.localize.localizer import Localizer
from vloc_models.mapping.calibrate import Asked, calibrate, judged_anew
from vloc_models.maps import Calibration, open_map
from vloc_models.metrics.trajectory import score
from vloc_models.records import Trajectory, Verdict, View

Figures = dict[str, float | None]


@dataclass(frozen=True)
class SelfTest:
    """How good a map is."""

    figures: Figures  # of metrics.Score
    calibration: Calibration | None = None  # None: nothing was asked

    def as_json(self) -> dict[str, Any]:
        """What ``of_json`` reads."""
        return asdict(self)

    @staticmethod
    def of_json(kept: dict[str, Any]) -> 'SelfTest':
        """As it was kept."""
        return config.fill(SelfTest, kept, 'self-test')


NOT_TESTED = SelfTest({'queries': 0})


def self_test(
    path: Path,
    queries: Sequence[Keyframe],
    blocks: Sequence[int],
    report: Callable[[int, int], None] = lambda done, total: None,
) -> SelfTest:
    """How good the map at ``path`` is for pictures it has not seen, of so many held-out blocks."""
    localizer, answers = Localizer.of(open_map(path)), list[Asked]()
    for query, block in zip(queries, blocks, strict=True):
        image = np.repeat(query.grey[..., None], 3, 2)
        fix = localizer.locate([View(image, query.camera, np.eye(4))])
        answers.append(Asked(fix, query.T_map_cam, block))
        report(len(answers), len(queries))
    found = calibrate(answers, localizer.config, localizer.limits)
    if found is not None:  # the figures are of the map as it will answer
        scale = found.covariance_scale / localizer.config.covariance_scale
        limits = localizer.calibrated(found).limits
        answers = [judged_anew(answer, scale, limits) for answer in answers]
    return SelfTest(_figures(answers), found)


def _figures(answers: Sequence[Asked]) -> Figures:
    one_s = 10**9  # made-up stamps: the pictures of a rig share theirs
    truth = Trajectory.of(np.arange(len(answers)) * one_s, [a.T_map_cam for a in answers])
    found = [(i, a.fix.estimate, a.fix.verdict) for i, a in enumerate(answers)]
    told = [(i, estimate, verdict) for i, estimate, verdict in found if estimate is not None]
    estimate = Trajectory.of([i * one_s for i, _, _ in told], [e.T_map_base for _, e, _ in told])
    accepted = np.array([verdict is Verdict.ACCEPTED for _, _, verdict in told], bool)
    return score(truth, Trajectory(estimate.stamps_ns, estimate.T_map_body, accepted)).as_json()


def in_words(figures: Figures) -> str:
    """What the self-test says about the map, for a person."""
    if not figures.get('queries'):
        return 'not tested: too few pictures to hold some out'
    near = figures.get('recall_10cm_5deg') or 0.0
    accepted, wrong = figures.get('accepted_share') or 0.0, figures.get('false_accepts') or 0.0
    median = figures.get('median_cm')
    middle = 'most got no pose' if median is None else f'median {median:.1f} cm'
    trust = f'{accepted:.0%} accepted, {f"{wrong:.0f} WRONG" if wrong else "none wrong"}'
    return (
        f'{_grade(near, accepted, wrong)}: {near:.0%} of {figures["queries"]:.0f} held-out '
        f'pictures within 10 cm and 5 deg, {middle}; {trust}'
    )


def _grade(near: float, accepted: float, wrong: float) -> str:
    """A map whose accepted poses are wrong is worse than one that has none."""
    if near >= 0.9 and accepted >= 0.8 and not wrong:
        return 'good'
    return 'fair' if near >= 0.6 and accepted >= 0.4 and wrong <= 1 else 'POOR'
