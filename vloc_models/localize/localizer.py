"""One image, or one of each camera, becomes an honest pose. The main path; no torch.

    localizer = Localizer.load(Path('site'))
    fix = localizer.locate(frame.views)
    fix.verdict, fix.reason, fix.estimate.T_map_base

Each picture goes through the encoder, some of its cells through the map's head, and the map points
of all cameras through one PnP. Where that leaves doubt, the map's landmarks are asked, if it has
some: they take longer, and know places the head has not learned.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vloc_models.checks import check_shape
from vloc_models.engines.onnx_engine import OnnxEngine
from vloc_models.engines.probe import Engine, check_probe
from vloc_models.errors import MapError, VlocError
from vloc_models.frames.working import working_view
from vloc_models.localize.by_landmarks import Answer, Cells, search
from vloc_models.localize.encoder import encoder_of
from vloc_models.localize.verdict import VerdictConfig
from vloc_models.maps import Map, MapInfo, SubMap, open_map
from vloc_models.records import Fix, Verdict, View
from vloc_models.solvers.landmarks import Landmarks, Matcher
from vloc_models.solvers.pnp import Observation, PnpConfig, solve_pnp

Array = NDArray[np.float64]
_STRIDE = 8  # pixels between the centres of two cells
_REBUILD = 'build the map again with "vloc map"'


@dataclass(frozen=True)
class LocalizerConfig:
    """How a pose is found and judged."""

    every: int = 2  # use every n-th cell of every n-th row: time against precision
    pnp: PnpConfig = field(default_factory=PnpConfig)
    verdict: VerdictConfig = field(default_factory=VerdictConfig)
    sure_inlier_ratio: float = 0.33  # from here on the head's pose is not asked for again
    threads: int = 0  # of the networks; 0 = all cores


_DEFAULT = LocalizerConfig()


@dataclass(frozen=True, eq=False)
class Localizer:
    """Knows one place; keeps nothing between two calls."""

    info: MapInfo
    encoder: Engine  # image -> features
    head: Engine  # features -> points
    config: LocalizerConfig = _DEFAULT
    landmarks: Matcher | None = None

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
        heads = [s for s in site.info.submaps if s.head is not None]
        if len(heads) != 1:
            raise MapError(
                f'{site.folder}: has {len(heads)} heads; this vloc reads maps with one', _REBUILD
            )
        head = _head_of(site, heads[0], config.threads)
        encoder = encoder_of(site, config.threads)
        return Localizer(site.info, encoder, head, config, _landmarks_of(site, heads[0]))

    def locate(self, views: Sequence[View], prior: Array | None = None, stamp_ns: int = 0) -> Fix:
        """Where the robot is.

        Args:
            views: one picture a camera, of one moment.
            prior: T_map_base [4, 4] to try first, e.g. what odometry predicts.
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
        cells = [self._encode(view) for view in views]
        solve = partial(self._solve, stamp_ns)
        answer = solve([self._ask_head(c) for c in cells], prior)
        if self.landmarks is None or self._sure(answer):
            return answer
        return search(cells, self.landmarks, solve, answer, prior)

    def _sure(self, answer: Answer) -> bool:
        estimate = answer.fix.estimate
        enough = estimate is not None and estimate.inlier_ratio >= self.config.sure_inlier_ratio
        return answer.accepted and enough

    def _encode(self, view: View) -> Cells:
        """Some cells of a picture, in its working size."""
        view = working_view(view)
        features = self.encoder({'image': view.image[None]})['features']  # [1, C, h, w]
        check_shape(features, '1 C h w', 'features')
        every = self.config.every
        first = every // 2
        rows, columns = np.mgrid[
            first : features.shape[2] : every, first : features.shape[3] : every
        ]
        pixels = np.stack([columns, rows], -1).reshape(-1, 2) * _STRIDE + (_STRIDE - 1) / 2
        some = np.ascontiguousarray(features[:, :, first::every, first::every])
        return Cells(some, pixels, view.camera, view.T_base_cam)

    def _ask_head(self, cells: Cells) -> Observation:
        points = self.head({'features': cells.features})['points']
        h, w = cells.features.shape[2:]
        check_shape(points, '1 3 h w', 'points', h=h, w=w)
        points = points.reshape(3, -1).T.astype(np.float64)
        return cells.seen(points, np.ones(len(points), np.float32))

    def _solve(self, stamp_ns: int, seen: Sequence[Observation], prior: Array | None) -> Answer:
        estimate = solve_pnp(seen, self.config.pnp, prior)
        count = sum(len(o.coordinates.pixels) for o in seen)
        verdict, reason = self.config.verdict.judge(estimate, count)
        told = None if verdict is Verdict.NONE else estimate
        return Answer(Fix(stamp_ns, verdict, reason, told), tuple(seen))


def _landmarks_of(site: Map, submap: SubMap) -> Matcher | None:
    if submap.landmarks is None:
        return None
    where = f'{site.folder}/{submap.landmarks}'
    return Matcher(Landmarks.of_arrays(site.read_arrays(submap.landmarks), where))


def _head_of(site: Map, submap: SubMap, threads: int) -> Engine:
    """The head, verified against torch's outputs."""
    name = f'{site.folder}: head of sub-map {submap.name}'
    if submap.probe is None:
        raise MapError(f'{name}: has no probe to verify it against', _REBUILD)
    assert submap.head is not None
    head = OnnxEngine(site.read_bytes(submap.head), name, threads)
    check_probe(head, site.read_arrays(submap.probe), name)
    return head
