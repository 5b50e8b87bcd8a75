"""A bag of noise along a known way, and a localizer that knows the way."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from vloc_models.errors import MapError
from vloc_models.frames.bag import BagReader
from vloc_models.frames.options import BagOptions
from vloc_models.frames.working import working_view
from vloc_models.frames.write_bag import WriteOptions, write_bag
from vloc_models.geometry import se3
from vloc_models.geometry.camera import Camera
from vloc_models.localize.by_landmarks import Answer
from vloc_models.maps import MapInfo, open_map
from vloc_models.records import Array, Fix, Frame, PoseEstimate, SceneCoordinates, Verdict, View
from vloc_models.solvers.pnp import Observation

N = 20
CAMERA = Camera(64, 48, 50.0, 50.0, 31.5, 23.5)
T_base_cam = se3.transform([[0, 0, 1], [-1, 0, 0], [0, -1, 0]], [0.1, 0, 0.5])


def write(path: Path, truth: bool) -> Path:
    rng = np.random.default_rng(0)
    frames = []
    for k in range(N):
        image = rng.integers(0, 256, (48, 64, 3), np.uint8)
        T = se3.exp([0.1 * k, 0.02 * k, 0, 0, 0, 0.05 * k])
        view = View(image, CAMERA, T_base_cam)
        frames.append(Frame(10**18 + k * 100_000_000, (view,), T, T if truth else None))
    write_bag(path, frames, WriteOptions(map_tf=False, truth=truth))
    return path


class Knowing:
    """A stand-in for a Localizer, right but for a few frames; ``say`` is what it gives as reason.

    Frame 3 has no pose, frame 5 is a false accept, frame 7 is weak and wrong.
    """

    def __init__(self, info: MapInfo, bag: Path, mute: bool = False, say: str = '') -> None:
        self.info, self.mute, self.say = info, mute, say
        with BagReader(bag, BagOptions(poses='truth')) as reader:
            self.frames = list(reader.frames())
        self.number = {frame.stamp_ns: k for k, frame in enumerate(self.frames)}

    def locate(self, views: Sequence[View], prior: Array | None = None, stamp_ns: int = 0) -> Fix:
        k = self.number[stamp_ns]
        if self.mute or k == 3:
            return Fix(stamp_ns, Verdict.NONE, f'no pose explains the {k} map points{self.say}')
        T = self.frames[k].T_map_base
        assert T is not None
        T = T @ se3.exp([0.9 if k in (5, 7) else 0.02, 0, 0, 0, 0, 0.01])
        estimate = PoseEstimate(T, np.eye(6) * 1e-4, 50 + k, 0.5, 0.5, 2.0)
        if k == 7:
            return Fix(stamp_ns, Verdict.WEAK, f'{50 + k} inliers, 60 needed{self.say}', estimate)
        return Fix(stamp_ns, Verdict.ACCEPTED, f'{50 + k}% inliers{self.say}', estimate)

    def explain(self, views: Sequence[View]) -> Answer:
        """In the pixels of the working size, 640 x 480."""
        view = working_view(views[0], 480)
        camera = view.camera
        assert (camera.width, camera.height) == (640, 480)
        pixels = camera.pixel_grid()[4::16, 4::16].reshape(-1, 2)
        points = se3.apply(view.T_base_cam, camera.unproject(pixels) * 3.0)
        points[::5] += 5  # wrong ones
        points[::7] = np.nan
        seen = SceneCoordinates(pixels, points, np.ones(len(pixels), np.float32))
        fix = Fix(0, Verdict.NONE, 'not asked')
        return Answer(fix, (Observation(seen, camera, view.T_base_cam),), None)


@pytest.fixture(scope='session')
def knowing(tmp_path_factory: pytest.TempPathFactory, sites: Any) -> Any:
    """Of commands that locate: a bag with and one without the truth, a map, a way to be known."""
    folder = tmp_path_factory.mktemp('knowing')
    bag, site = write(folder / 'run', True), folder / 'site'
    sites.write(site)

    def install(patch: pytest.MonkeyPatch, command: str, **how: Any) -> None:
        """Let a command load a localizer that knows the bag's way."""

        def load(path: Path, *_: object) -> Knowing:
            if not path.is_dir():
                raise MapError(f'{path}: no such map folder', 'build it')
            return Knowing(open_map(path).info, bag, **how)

        patch.setattr(f'vloc_models.commands.{command}.Localizer', SimpleNamespace(load=load))

    blind = write(folder / 'blind', False)
    return SimpleNamespace(N=N, bag=bag, blind=blind, site=site, install=install)
