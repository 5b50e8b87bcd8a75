"""What a solved pose is worth, and why, in words."""

import math
from dataclasses import dataclass

import numpy as np

from vloc_models.records import PoseEstimate, Verdict


@dataclass(frozen=True)
class VerdictConfig:
    """What a pose needs to be told at all, and to be accepted; of landmarks by default."""

    min_inliers: int = 60
    min_inlier_ratio: float = 0.5
    min_coverage: float = 0.4  # share of the image's twelve parts that hold an inlier
    max_sigma_m: float = 0.1  # largest standard deviation of the position
    max_reprojection_px: float = 4.5  # median of the inliers; of inliers by chance 7 of 10 px
    chance_inlier_ratio: float = 0.25  # below it there is no pose: of a hundred none was right
    chance_inliers: int = 30  # likewise: a black picture reached 27, right answers had 60 and more

    @staticmethod
    def of_head() -> 'VerdictConfig':
        """A head tells a point for every cell, also for those that cannot be known."""
        return VerdictConfig(
            min_inlier_ratio=0.15, chance_inlier_ratio=0.04, max_reprojection_px=math.inf
        )

    def judge(self, estimate: PoseEstimate | None, seen: int) -> tuple[Verdict, str]:
        """The verdict and its reason.

        Args:
            estimate: the solver's answer; None = it found none.
            seen: how many map points the cameras saw, for the reason.
        """
        if estimate is None:
            return Verdict.NONE, f'no pose explains the {seen} map points'
        ratio = estimate.agreed_ratio
        if ratio < self.chance_inlier_ratio:
            return Verdict.NONE, f'{ratio:.0%} inliers are no more than chance'
        if estimate.inliers < self.chance_inliers:
            return Verdict.NONE, f'{estimate.inliers} inliers are no more than chance'
        heard = [x for x in estimate.by_camera if x is not None]
        against = sum(x < self.chance_inlier_ratio for x in heard)
        disagree = f'{against} of {len(heard)} cameras disagree{"s" if against == 1 else ""}'
        sigma = float(np.sqrt(np.linalg.eigvalsh(estimate.covariance[:3, :3])[-1]))
        short = [
            words
            for bad, words in (
                (
                    estimate.inliers < self.min_inliers,
                    f'{estimate.inliers} inliers, {self.min_inliers} needed',
                ),
                (
                    ratio < self.min_inlier_ratio,
                    f'{ratio:.0%} inliers, {self.min_inlier_ratio:.0%} needed',
                ),
                (2 * against > len(heard) > 1, disagree),
                (
                    estimate.coverage < self.min_coverage,
                    f'inliers in {estimate.coverage:.0%} of the image, '
                    f'{self.min_coverage:.0%} needed',
                ),
                (
                    not sigma <= self.max_sigma_m,
                    f'position known to {sigma * 100:.1f} cm, {self.max_sigma_m * 100:g} needed',
                ),
                (
                    estimate.reprojection_px > self.max_reprojection_px,
                    f'inliers {estimate.reprojection_px:.1f} px off, '
                    f'at most {self.max_reprojection_px:g} wanted',
                ),
            )
            if bad
        ]
        if short:
            return Verdict.WEAK, '; '.join(short)
        words = f'{ratio:.0%} inliers in {estimate.coverage:.0%} of the image'
        return Verdict.ACCEPTED, f'{words}; {disagree}' if against else words
