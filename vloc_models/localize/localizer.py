"""One image, or one of each camera, becomes an honest pose. The main path; no torch.

    localizer = Localizer.load(Path('site'))
    fix = localizer.locate(frame.views)
    fix.verdict, fix.reason, fix.estimate.T_map_base

Each picture goes through the encoder. Its surest cells become map points by matching with the
map's landmarks, or by the map's head, and those of all cameras go through one PnP. Of a map of
several parts, those are looked in whose pictures look most like what is seen.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from vloc_models.checks import check_se3
from vloc_models.engines.probe import Engine
from vloc_models.errors import VlocError
from vloc_models.frames.working import working_view
from vloc_models.localize.by_landmarks import Answer, Solve
from vloc_models.localize.cells import Cells, encode, marked
from vloc_models.localize.encoder import Precision, encoder_of
from vloc_models.localize.fallback import FallbackConfig, fallen_back
from vloc_models.localize.part import Look
from vloc_models.localize.parts import Parts
from vloc_models.localize.prior import Prior
from vloc_models.localize.verdict import VerdictConfig
from vloc_models.maps import Calibration, Map, MapInfo, open_map
from vloc_models.records import Fix, PoseEstimate, Verdict, View
from vloc_models.solvers.pnp import Observation, PnpConfig, solve_pnp

Array = NDArray[np.float64]
Use = Literal['both', 'head', 'landmarks']
# threads for small products, once used, spin on: 140 ms of processor a picture instead of 37
_LIBRARIES = ThreadpoolController()
_USUAL_RATIO = 0.9  # of inliers; with fewer, more of them are wrong: errors grow likewise


@dataclass(frozen=True)
class LocalizerConfig:
    """How a pose is found and judged."""

    use: Use = 'both'  # of what the map has
    every: int = 2  # use the surest of n by n cells: time against precision
    pnp: PnpConfig = field(default_factory=PnpConfig)
    verdict: VerdictConfig = field(default_factory=VerdictConfig)
    head_verdict: VerdictConfig = field(default_factory=VerdictConfig.of_head)  # without landmarks
    clear_ratio: float = 0.65  # of inliers, after which no other place is tried; bricks reach 0.62
    rival_support: float = 0.2  # of the best answer's, from which another place is looked at
    rival_outliers: float = 0.5  # of its share of outliers: what has no fewer is not the place,
    rival_margin: float = 0.05  # and so many fewer of what was matched
    covariance_scale: float = 5.0  # of the solver's, with usually many inliers
    parts: int = 3  # of the map, that most pictures that look alike are of, to look in
    part_share: float = 0.1  # of the most likely part's votes, that another one needs
    fallback: FallbackConfig = field(default_factory=FallbackConfig)
    threads: int = 0  # of the networks; 0 = all cores
    precision: Precision = 'float32'  # of the encoder

    def calibrated(self, found: Calibration | None, head_alone: bool) -> 'LocalizerConfig':
        """As a map needs it, by what was found when it was made; some have a head alone."""
        if found is None:
            return self
        config = replace(self, covariance_scale=found.covariance_scale)
        if head_alone:
            return replace(config, head_verdict=_at_least(self.head_verdict, found))
        return replace(config, verdict=_at_least(self.verdict, found))


_DEFAULT = LocalizerConfig()


@dataclass(frozen=True, eq=False)
class Localizer:
    """Knows one place; keeps nothing between two calls."""

    info: MapInfo
    encoder: Engine  # image -> features, sure
    parts: Parts
    config: LocalizerConfig = _DEFAULT
    pose_prior: Prior | None = None  # of the map, that tells a coarse pose where all else fails

    @staticmethod
    def load(path: Path, config: LocalizerConfig = _DEFAULT) -> 'Localizer':
        """Open a map folder.

        Raises:
            MapError: if it is damaged, or made with an encoder that is not here.
        """
        return Localizer.of(open_map(path), config)

    @staticmethod
    def of(site: Map, config: LocalizerConfig = _DEFAULT) -> 'Localizer':
        """Of an opened map."""
        encoder = encoder_of(site, config.threads, config.precision)
        parts = Parts.load(site, config.use, config.threads)
        config = config.calibrated(site.info.calibration, parts.head_alone)
        return Localizer(site.info, encoder, parts, config, Prior.load(site, config.threads))

    def calibrated(self, found: Calibration | None) -> 'Localizer':
        """The same with what was found of its map."""
        return replace(self, config=self.config.calibrated(found, self.parts.head_alone))

    def locate(self, views: Sequence[View], prior: Array | None = None, stamp_ns: int = 0) -> Fix:
        """Where the robot is.

        Args:
            views: one picture a camera, of one moment.
            prior: T_map_base [4, 4] to try first, e.g. what odometry predicts; an accepted pose
                there is the answer, whatever else in the map looks like it.
            stamp_ns: of the pictures; handed on.

        Returns:
            A verdict with its reason in words; with the pose and its covariance where one was
            found. Never a pose that was not seen.

        Raises:
            VlocError: if there is no view, or the prior is no rigid transform.
        """
        return self.explain(views, prior, stamp_ns).fix

    def explain(
        self, views: Sequence[View], prior: Array | None = None, stamp_ns: int = 0
    ) -> Answer:
        """As ``locate``, together with the map points that the answer comes from."""
        if not views:
            raise VlocError('locate: no view is given', 'give at least one picture')
        if prior is not None:
            check_se3(prior, 'prior')
        with _LIBRARIES.limit(limits=1, user_api='blas'):
            return self._explained(views, prior, stamp_ns)

    def _explained(self, views: Sequence[View], prior: Array | None, stamp_ns: int) -> Answer:
        cells = self._cells(views)
        seeing = [c for c in cells if not c.blind]
        solve = _solver(stamp_ns, self.config, self.limits, cells)
        likely = self.parts.likely(seeing, prior, self.config.parts, self.config.part_share)
        first = next(likely).look(seeing, solve, prior)
        found = first.around(prior)
        if found is not None and found.accepted and found.at(prior):
            return found  # of places that look alike, the prior tells which
        looks = [first, *(part.look(seeing, solve, prior) for part in likely)]
        tried = [] if found is None else [found]
        for answer in _in_turn([look.answers() for look in looks]):
            tried.append(answer)
            if answer.clear(self.config.clear_ratio) and not self.parts.head_alone:
                break  # a network alone is asked all it can tell: nothing else looks for rivals
        best = reduce(Answer.better, tried)
        if best.accepted and (len(looks) > 1 or not self.parts.head_alone):
            best = self._alone(best, looks, tried)
        elif not best.accepted and not self.parts.head_alone:
            seen = [view for view, c in zip(views, cells, strict=True) if not c.blind]
            best = self._fallen_back(best, looks, self._coarse(seen))
        return replace(best, looked_in=len(looks))

    @property
    def limits(self) -> VerdictConfig:
        """What poses are judged by."""
        return self.config.head_verdict if self.parts.head_alone else self.config.verdict

    def _fallen_back(
        self, best: Answer, looks: Sequence[Look], coarse: PoseEstimate | None
    ) -> Answer:
        """Refined from the pose prior; or a guess, or nothing."""
        if coarse is not None:
            near = [look.around(coarse.T_map_base) for look in looks]
            # weak ones agree with the prior by their making: they tell nothing
            accepted = [answer for answer in near if answer is not None and answer.accepted]
            if accepted:
                return self._alone(reduce(Answer.better, accepted), looks, [*accepted, best])
        pictures = (T_map_base for look in looks for T_map_base in look.pictures())
        return fallen_back(best, coarse, pictures, self.config.fallback)

    def _coarse(self, views: Sequence[View]) -> PoseEstimate | None:
        """What the map's prior says to the picture that it knows best."""
        told = [self.pose_prior.told(view) for view in views] if self.pose_prior else []
        found = [estimate for estimate in told if estimate is not None]
        return min(found, key=lambda e: float(np.trace(e.covariance[:3, :3])), default=None)

    def _cells(self, views: Sequence[View]) -> list[Cells]:
        """What each camera sees, encoded in the working size; blind ones are marked."""
        working = (working_view(view, self.info.encoder.short_side_px) for view in views)
        return marked([encode(self.encoder, v, self.config.every) for v in working])

    def _alone(self, best: Answer, looks: Sequence[Look], tried: Sequence[Answer]) -> Answer:
        """The accepted place with the fewest outliers, unless another has hardly more of them.

        Counts of inliers do not tell places apart that look alike: they depend on how often each
        was seen while the map was made.
        """
        least = self.config.rival_support * best.support
        rivals = [rival for look in looks for rival in look.rivals(best, least)]
        answers = [a for a in (*rivals, *tried) if a.support >= least]
        best = min((a for a in answers if a.accepted), key=lambda answer: answer.outlier_share)
        rivals = [answer for answer in answers if answer.elsewhere(best)]
        rival = min(rivals, key=lambda answer: answer.outlier_share, default=None)
        if rival is None or self._outdoes(best, rival):
            return best
        found = [a.estimate for a in (best, rival) if a.estimate is not None]
        credible = [a.accepted for a in (best, rival) if a.estimate is not None]
        shares = ' and '.join(f'{estimate.inlier_ratio:.0%}' for estimate in found)
        fix = replace(
            best.fix,
            verdict=Verdict.AMBIGUOUS,
            reason=f'two places explain it: {shares} inliers',
            estimate=None,
            candidates=tuple(found),
            credible=tuple(credible),
        )
        return replace(best, fix=fix)

    def _outdoes(self, best: Answer, rival: Answer) -> bool:
        c, ours, theirs = self.config, best.outlier_share, rival.outlier_share
        return ours < c.rival_outliers * theirs and ours < theirs - c.rival_margin


def _solver(
    stamp_ns: int, config: LocalizerConfig, limits: VerdictConfig, cells: Sequence[Cells]
) -> Solve:
    """PnP with a calibrated covariance and a verdict, by what those cameras saw that see."""

    def solve(seeing: Sequence[Observation], prior: Array | None) -> Answer:
        each = iter(seeing)
        seen = [c.nothing() if c.blind else next(each) for c in cells]
        estimate = solve_pnp(seen, config.pnp, prior)
        if estimate is not None:
            scale = config.covariance_scale * (_USUAL_RATIO / estimate.inlier_ratio) ** 2
            estimate = replace(estimate, covariance=scale * estimate.covariance)
        count = sum(len(o.coordinates.pixels) for o in seen)
        verdict, reason = limits.judge(estimate, count)
        told = None if verdict is Verdict.NONE else estimate
        return Answer(Fix(stamp_ns, verdict, reason, told), tuple(seen), estimate)

    return solve


def _at_least(limits: VerdictConfig, found: Calibration) -> VerdictConfig:
    least = max(limits.min_inlier_ratio, found.min_inlier_ratio)
    return replace(limits, min_inlier_ratio=least)


def _in_turn(each: Sequence[Iterator[Answer]]) -> Iterator[Answer]:
    """The first answer of every part, then the second ones; none is sought before it is asked."""
    going = list(each)
    while going:
        for answers in tuple(going):
            answer = next(answers, None)
            if answer is None:
                going.remove(answers)
            else:
                yield answer
