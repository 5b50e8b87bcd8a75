"""How sure answers of a map are: from pictures it has not seen, whose poses are known.

Pictures of one place err together, so that each held-out block counts once, however many pictures
it has; with few of them what other maps were found to need weighs as much.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from vloc_models.localize.localizer import LocalizerConfig
from vloc_models.localize.verdict import VerdictConfig
from vloc_models.maps import Calibration, ErrorAtInliers
from vloc_models.metrics.trajectory import FALSE_DEG, FALSE_M, pose_errors
from vloc_models.records import Fix, Verdict
from vloc_models.solvers.fusion import difference

Array = NDArray[np.float64]
_OTHER_MAPS = 2.0  # blocks, that what is shipped counts for
_WORST = 10.0  # times the variance; a block that errs more is no matter of scale
_FEWEST = 3  # accepted pictures in a block
_RATIOS = (0.25, 0.5, 0.65, 0.8, 0.9)  # of inliers, from which errors are told
_ABOVE, _HIGHEST = 0.03, 0.8  # the share of inliers asked for, over that of a wrong answer
_MEDIAN = float(chi2.median(6))


@dataclass(frozen=True, eq=False)
class Asked:
    """A held-out picture with its answer."""

    fix: Fix
    T_map_cam: Array  # [4, 4] the truth
    block: int


def blocks_of(asked: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The number of its run of neighbours, of each picture [N] that is asked for."""
    starts = asked & ~np.concatenate([[False], asked[:-1]])
    return (np.cumsum(starts) - 1)[asked]


def calibrate(
    answers: Sequence[Asked], config: LocalizerConfig, limits: VerdictConfig
) -> Calibration | None:
    """What a localizer of ``config`` needs for this map; None where nothing was asked.

    Every other block tells what is accepted, the others how far poses are off.

    Args:
        answers: of a localizer.
        config: its own.
        limits: by which it judged.
    """
    if not answers:
        return None
    deciding = [a for a in answers if a.block % 2 == 0]
    measuring = [a for a in answers if a.block % 2 == 1]
    return Calibration(
        covariance_scale=config.covariance_scale * _covariance_ratio(measuring),
        min_inlier_ratio=_min_inlier_ratio(deciding, limits.min_inlier_ratio),
        queries=len(answers),
        blocks=len({a.block for a in answers}),
        errors=_errors(answers),
    )


def judged_anew(answer: Asked, scale: float, limits: VerdictConfig) -> Asked:
    """With variances so many times as large, and the verdict that this gives."""
    fix = answer.fix
    if fix.estimate is None:
        return answer
    estimate = replace(fix.estimate, covariance=scale * fix.estimate.covariance)
    verdict, reason = limits.judge(estimate, estimate.inliers)
    told = None if verdict is Verdict.NONE else estimate
    return replace(answer, fix=replace(fix, verdict=verdict, reason=reason, estimate=told))


def _covariance_ratio(answers: Sequence[Asked]) -> float:
    """By how much variances are too small, so that the median error is what they say."""
    ratios = []
    for block in sorted({a.block for a in answers}):
        squared = [_squared(a) for a in answers if a.block == block and _right(a)]
        if len(squared) >= _FEWEST:
            ratios.append(min(float(np.median(squared)) / _MEDIAN, _WORST))
    return (_OTHER_MAPS + sum(ratios)) / (_OTHER_MAPS + len(ratios))


def _squared(a: Asked) -> float:
    """The error in standard deviations, squared."""
    assert a.fix.estimate is not None
    off = difference(a.T_map_cam, a.fix.estimate.T_map_base)
    return float(off @ np.linalg.solve(a.fix.estimate.covariance, off))


def _right(a: Asked) -> bool:
    return a.fix.verdict is Verdict.ACCEPTED and not _wrong(a)


def _wrong(a: Asked) -> bool:
    if a.fix.estimate is None:
        return False
    error_m, error_deg = pose_errors(a.T_map_cam[None], a.fix.estimate.T_map_base[None])
    return bool(error_m[0] > FALSE_M or error_deg[0] > FALSE_DEG)


def _min_inlier_ratio(answers: Sequence[Asked], shipped: float) -> float:
    """The shipped one, or more where a wrong answer was accepted with that."""
    wrong = [
        a.fix.estimate.inlier_ratio + _ABOVE
        for a in answers
        if a.fix.estimate is not None and a.fix.verdict is Verdict.ACCEPTED and _wrong(a)
    ]
    return float(min(max([shipped, *wrong]), _HIGHEST))


def _errors(answers: Sequence[Asked]) -> tuple[ErrorAtInliers, ...]:
    """How far off answers were, by their share of inliers."""
    rows = []
    for low, high in zip(_RATIOS, (*_RATIOS[1:], np.inf), strict=True):
        errors = [
            float(np.linalg.norm(e.T_map_base[:3, 3] - a.T_map_cam[:3, 3])) * 100
            for a in answers
            if (e := a.fix.estimate) is not None and low <= e.inlier_ratio < high
        ]
        if errors:
            rows.append(ErrorAtInliers(low, len(errors), float(np.median(errors))))
    return tuple(rows)
