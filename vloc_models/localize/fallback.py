"""What is said where no pose is sure: a coarse one, a place, or nothing; never one to drive by.

In front of a stranger's wall chance finds weak poses too, some picture of the map is always the
most alike, and a pose prior always answers. None of these is worth a word alone. Two that know
nothing of each other and name one place are worth a guess, told as what it is.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vloc_models.geometry import se3
from vloc_models.localize.by_landmarks import Answer
from vloc_models.records import PoseEstimate, Verdict

Array = NDArray[np.float64]


@dataclass(frozen=True)
class FallbackConfig:
    """How near each other guesses must be; measured on places that nothing else was tuned on."""

    # inliers times their share, and their share, below which a weak pose may be chance
    weak_support: float = 35.0
    weak_ratio: float = 0.45
    coarse_m: float = 0.5  # from the pose prior's to the one that chance may have found
    coarse_rad: float = 0.35
    place_m: float = 1.5  # from that one to the picture of the map that cells look most like
    # of the robot about such a picture's pose
    place_sigma_m: float = 1.0
    place_sigma_rad: float = 0.5


def fallen_back(
    answer: Answer,
    coarse: PoseEstimate | None,
    pictures: Iterable[Array],
    config: FallbackConfig,
) -> Answer:
    """The answer, or what is left of it where chance may have found its pose.

    Args:
        answer: the best there is.
        coarse: what the pose prior says, if anything.
        pictures: T_map_base [4, 4] as if the robot stood where pictures of the map were taken, of
            those that the cells of each camera look most like.
        config: how near they must be.

    Returns:
        A COARSE answer with the prior's pose for a guess, PLACE_ONLY with a picture's, or NONE.
        None of them has an estimate.
    """
    T, verdict = answer.T_map_base, answer.fix.verdict
    few = answer.support < config.weak_support and 1 - answer.outlier_share < config.weak_ratio
    chance = verdict is Verdict.WEAK and few
    if T is None or not (chance or verdict is Verdict.NONE):
        return answer
    if coarse is not None and _near(T, coarse.T_map_base, config.coarse_m, config.coarse_rad):
        words = f'the pose prior, and {_weakly(answer)} that say so too'
        return _guessed(answer, Verdict.COARSE, words, coarse)
    if not chance:
        return answer
    for place in pictures:
        if np.linalg.norm(T[:3, 3] - place[:3, 3]) < config.place_m:
            words = f'looks like a picture of the map, near which {_weakly(answer)} lead'
            return _guessed(answer, Verdict.PLACE_ONLY, words, _about(place, config))
    words = f'{_weakly(answer)} may be chance'
    return replace(
        answer, fix=replace(answer.fix, verdict=Verdict.NONE, reason=words, estimate=None)
    )


def _near(a: Array, b: Array, most_m: float, most_rad: float) -> bool:
    apart = se3.inverse(a) @ b
    away_m, turned_rad = np.linalg.norm(apart[:3, 3]), se3.angle_rad(apart[:3, :3])
    return bool(away_m < most_m and turned_rad < most_rad)


def _weakly(answer: Answer) -> str:
    found = answer.estimate
    assert found is not None
    return f'{found.inliers} inliers, {found.inlier_ratio:.0%},'


def _guessed(answer: Answer, verdict: Verdict, words: str, guess: PoseEstimate) -> Answer:
    fix = replace(answer.fix, verdict=verdict, reason=words, estimate=None, guess=guess)
    return replace(answer, fix=fix)


def _about(T_map_base: Array, config: FallbackConfig) -> PoseEstimate:
    sigma = np.repeat([config.place_sigma_m, config.place_sigma_rad], 3)
    return PoseEstimate(T_map_base, np.diag(sigma**2), 0, 0.0, 0.0, np.nan)
