"""One image, or one of each camera, becomes an honest pose. The main path; no torch.

    localizer = Localizer.load(Path('site'))
    fix = localizer.locate(frame.views)
    fix.verdict, fix.reason, fix.estimate.T_map_base

Each picture goes through the encoder, some of its cells through the map's head, and the map points
of all cameras through one PnP. A pose that is not accepted is asked for once more with the map's
landmarks, where it has some: they take longer, and know places the head has not learned.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vloc_models.checks import check_shape
from vloc_models.engines.onnx_engine import OnnxEngine
from vloc_models.engines.probe import Engine, check_probe
from vloc_models.errors import MapError, VlocError
from vloc_models.frames.working import working_view
from vloc_models.geometry.camera import Camera
from vloc_models.localize.encoder import encoder_of
from vloc_models.localize.verdict import VerdictConfig
from vloc_models.maps import Map, MapInfo, SubMap, open_map
from vloc_models.records import Fix, SceneCoordinates, Verdict, View
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
    ) -> 'Answer':
        """As ``locate``, together with the map points that the answer comes from."""
        if not views:
            raise VlocError('locate: no view is given', 'give at least one picture')
        cells = [self._encode(view) for view in views]
        answer = self._solve(cells, self._ask_head, prior, stamp_ns)
        if answer.fix.verdict is not Verdict.ACCEPTED and self.landmarks is not None:
            second = self._solve(cells, self._ask_landmarks, prior, stamp_ns)
            answer = max(answer, second, key=_support)
        return answer

    def _encode(self, view: View) -> '_Cells':
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
        return _Cells(some, pixels, view.camera, view.T_base_cam)

    def _solve(
        self,
        cells: Sequence['_Cells'],
        ask: Callable[['_Cells'], SceneCoordinates],
        prior: Array | None,
        stamp_ns: int,
    ) -> 'Answer':
        seen = tuple(Observation(ask(c), c.camera, c.T_base_cam) for c in cells)
        estimate = solve_pnp(seen, self.config.pnp, prior)
        verdict, reason = self.config.verdict.judge(estimate, sum(len(c.pixels) for c in cells))
        told = None if verdict is Verdict.NONE else estimate
        return Answer(Fix(stamp_ns, verdict, reason, told), seen)

    def _ask_head(self, cells: '_Cells') -> SceneCoordinates:
        points = self.head({'features': cells.features})['points']
        h, w = cells.features.shape[2:]
        check_shape(points, '1 3 h w', 'points', h=h, w=w)
        points = points.reshape(3, -1).T.astype(np.float64)
        return SceneCoordinates(cells.pixels, points, np.ones(len(points), np.float32))

    def _ask_landmarks(self, cells: '_Cells') -> SceneCoordinates:
        assert self.landmarks is not None
        features = cells.features.reshape(cells.features.shape[1], -1).T
        return SceneCoordinates(cells.pixels, *self.landmarks.match(features))


@dataclass(frozen=True, eq=False)
class Answer:
    """A fix with what it was solved from."""

    fix: Fix
    observations: tuple[Observation, ...]  # one a view, in the pixels of its working size


@dataclass(frozen=True, eq=False)
class _Cells:
    """What one camera saw, encoded."""

    features: NDArray[np.float32]  # [1, C, h, w]
    pixels: Array  # [h w, 2] their centres
    camera: Camera
    T_base_cam: Array


def _support(answer: Answer) -> tuple[bool, int]:
    """What makes one answer to the same pictures better than another."""
    estimate = answer.fix.estimate
    return answer.fix.verdict is Verdict.ACCEPTED, 0 if estimate is None else estimate.inliers


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
