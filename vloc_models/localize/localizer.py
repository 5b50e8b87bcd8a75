"""One image, or one of each camera, becomes an honest pose. The main path; no torch.

    localizer = Localizer.load(Path('site'))
    fix = localizer.locate(frame.views)
    fix.verdict, fix.reason, fix.estimate.T_map_base

Each picture goes through the encoder. Its surest cells become map points by matching with the
map's landmarks, or by the map's head, and those of all cameras go through one PnP.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vloc_models.checks import check_se3
from vloc_models.engines.probe import Engine
from vloc_models.errors import MapError, VlocError
from vloc_models.frames.working import working_view
from vloc_models.localize.by_head import Head
from vloc_models.localize.by_landmarks import Answer, Search, Solve
from vloc_models.localize.cells import Cells, encode, marked
from vloc_models.localize.encoder import encoder_of
from vloc_models.localize.verdict import VerdictConfig
from vloc_models.maps import Calibration, Map, MapInfo, SubMap, open_map
from vloc_models.records import Fix, Verdict, View
from vloc_models.solvers.landmarks import Landmarks, Matcher
from vloc_models.solvers.pnp import Observation, PnpConfig, solve_pnp

Array = NDArray[np.float64]
Use = Literal['both', 'head', 'landmarks']
_USUAL_RATIO = 0.9  # of inliers; with fewer, more of them are wrong: errors grow likewise
_REBUILD = 'build the map again with "vloc map"'


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
    threads: int = 0  # of the networks; 0 = all cores

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
    head: Head | None = None
    landmarks: Matcher | None = None
    config: LocalizerConfig = _DEFAULT

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
        if len(site.info.submaps) != 1:
            raise MapError(
                f'{site.folder}: has {len(site.info.submaps)} sub-maps; this vloc reads one',
                _REBUILD,
            )
        part, use = site.info.submaps[0], config.use
        places = _landmarks_of(site, part)
        head = None if use == 'landmarks' else Head.load(site, part, places, config.threads)
        landmarks = None if use == 'head' else places
        if head is None and landmarks is None:
            has = {'both': 'neither head nor landmarks', 'head': 'no head'}.get(use, f'no {use}')
            raise MapError(f'{site.folder}: has {has}', 'use what it has, or build it again')
        encoder = encoder_of(site, config.threads)
        config = config.calibrated(site.info.calibration, part.landmarks is None)
        return Localizer(site.info, encoder, head, landmarks, config)

    def calibrated(self, found: Calibration | None) -> 'Localizer':
        """The same with what was found of its map."""
        config = self.config.calibrated(found, self.landmarks is None)
        return replace(self, config=config)

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
        cells, config = self._cells(views), self.config
        seeing = [c for c in cells if not c.blind]
        solve = _solver(stamp_ns, config, self.limits, cells)
        if self.landmarks is None:
            assert self.head is not None
            answers = (solve(told, prior) for told in self.head.told(seeing))
            return reduce(Answer.better, answers)
        search = Search.of(seeing, self.landmarks, solve)
        tried = [] if prior is None else [search.around(prior)]
        if any(a.accepted and a.at(prior) for a in tried):
            return tried[0]  # of places that look alike, the prior tells which
        for answer in self._attempts(search, prior):
            tried.append(answer)
            if answer.clear(config.clear_ratio):
                break
        best = reduce(Answer.better, tried)
        return self._alone(best, search, tried) if best.accepted else best

    @property
    def limits(self) -> VerdictConfig:
        """What poses are judged by."""
        return self.config.head_verdict if self.landmarks is None else self.config.verdict

    def _cells(self, views: Sequence[View]) -> list[Cells]:
        """What each camera sees, encoded in the working size; blind ones are marked."""
        working = (working_view(view, self.info.encoder.short_side_px) for view in views)
        return marked([encode(self.encoder, v, self.config.every) for v in working])

    def _alone(self, best: Answer, search: Search, tried: Sequence[Answer]) -> Answer:
        """The accepted place with the fewest outliers, unless another has hardly more of them.

        Counts of inliers do not tell places apart that look alike: they depend on how often each
        was seen while the map was made.
        """
        least = self.config.rival_support * best.support
        answers = [a for a in (*search.rivals(best, least), *tried) if a.support >= least]
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

    def _attempts(self, search: Search, prior: Array | None) -> Iterator[Answer]:
        """Answers, the quickest first; most often the first one is clear."""
        yield from search.anywhere()
        if self.head is not None:
            for told in self.head.told([a.cells for a in search.asked]):
                yield search.improved(search.solve(told, prior))
        yield from search.one_by_one()


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


def _landmarks_of(site: Map, submap: SubMap) -> Matcher | None:
    if submap.landmarks is None:
        return None
    where = f'{site.folder}/{submap.landmarks}'
    landmarks = Landmarks.of_arrays(site.read_arrays(submap.landmarks), where)
    return Matcher(landmarks, np.array(site.info.T_frame_map))
