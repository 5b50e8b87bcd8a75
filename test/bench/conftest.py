"""Each bench as a module, and both localizers in a few lines for those that make or ask maps."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from vloc_models.frames.cameras import CameraMount
from vloc_models.geometry.camera import Camera
from vloc_models.records import Array, Fix, PoseEstimate, Verdict, View

BENCH = Path(__file__).parents[2] / 'bench'
MOUNT = CameraMount('c', Camera(64, 48, 50.0, 50.0, 31.5, 23.5), np.eye(4), 'c')


def _bench(name: str) -> Any:
    """A fixture: bench/NAME.py, with the files beside it importable as when it is run."""

    @pytest.fixture(scope='module', name=name)
    def loaded() -> Iterator[ModuleType]:
        spec = importlib.util.spec_from_file_location(f'bench_{name}', BENCH / f'{name}.py')
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(BENCH)
            # dataclasses look themselves up there
            patch.setitem(sys.modules, f'bench_{name}', module)
            spec.loader.exec_module(module)
            yield module
        for other in [k for k, m in sys.modules.items() if _is_bench(m)]:
            del sys.modules[other]

    return loaded


def _is_bench(module: ModuleType) -> bool:
    return Path(getattr(module, '__file__', None) or '/').parent == BENCH


compare, figures, harm, few_images, blocks, limits, worlds = map(
    _bench, ('compare', 'figures', 'harm', 'few_images', 'blocks', 'limits', 'worlds')
)
trust, drive, negatives = map(_bench, ('trust', 'drive', 'negatives'))
depth, hscnet, retrieval = map(_bench, ('depth', 'hscnet', 'retrieval'))
pose_regression, rungs = map(_bench, ('pose_regression', 'rungs'))


def place(number: int) -> Array:
    """The true T_map_cam of a frame."""
    T_map_cam = np.eye(4)
    T_map_cam[0, 3] = number
    return T_map_cam


def recorded_frames(count: int) -> list[tuple[Any, Any, Array]]:
    """As the peer reads them; each picture is of one grey, which tells its number."""
    frames = []
    for number in range(count):
        picture = np.full((48, 64, 3), number, np.uint8)
        frames.append((cv2.imencode('.png', picture)[1], np.ones((48, 64)), place(number)))
    return frames


class Peer:
    """As the module sift_localizer; answers what the first pixel says."""

    COLOR = '/camera'

    def __init__(self, count: int) -> None:
        self.frames, self.mapped = recorded_frames(count), []

    def read(self, bag: Path) -> tuple[Array, list[tuple[Any, Any, Array]]]:
        return np.eye(3), self.frames

    def SiftLocalizer(self, K: Array, frames: list[Any]) -> Any:
        self.mapped.append([int(T_map_cam[0, 3]) for _, _, T_map_cam in frames])
        return SimpleNamespace(megabytes=float(len(frames)), locate=self._locate)

    @staticmethod
    def _locate(file: Any, K: Array) -> tuple[Array, int]:
        picture = cv2.imdecode(file, cv2.IMREAD_GRAYSCALE)
        assert picture is not None
        return place(int(picture[0, 0])), 100


class Ours:
    """As Localizer; knows no picture whose first pixel is above ``limit``."""

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def locate(self, views: list[View]) -> Fix:
        number = int(views[0].image[0, 0, 0])
        if number > self.limit:
            return Fix(0, Verdict.NONE, '')
        estimate = PoseEstimate(place(number), np.eye(6), 100, 0.5, 1.0, 1.0)
        return Fix(0, Verdict.ACCEPTED, '', estimate)


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch, sites: Any) -> Any:
    """Puts stubs in the place of both localizers and of mapping; ``built`` tells what was mapped.

    ``install(bench, count, limit)`` does so for a recording of so many pictures.
    """
    built: list[tuple[str, list[int]]] = []

    def build_map(source: Any, bags: Any, out: Path, config: Any, report: Any) -> Any:
        report('reading', 1, 1)
        built.append((out.name, [frame.stamp_ns for frame in source.frames()]))
        return sites.write(out)

    def install(bench: Any, count: int, limit: int = 255) -> Peer:
        peer, ours = Peer(count), Ours(limit)
        stub = SimpleNamespace(load=lambda path: ours, of=lambda site: ours)
        monkeypatch.setattr(bench, 'load_peer', lambda path: peer)
        monkeypatch.setattr(bench, 'camera_of', lambda bag, topic: (MOUNT, 'jpeg'))
        monkeypatch.setattr(bench, 'Localizer', stub)
        monkeypatch.setattr(sys.modules['compare'], '_REST_S', 0)
        if maps := sys.modules.get('our_maps'):
            encoder = SimpleNamespace(record=sites.INFO.encoder)
            monkeypatch.setattr(maps, 'build_map', build_map)
            monkeypatch.setattr(maps, 'choose_encoder', lambda choice: encoder)
        return peer

    return SimpleNamespace(install=install, built=built)


@pytest.fixture
def refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Starts a bench that must refuse, and gives the one line it says.

    A {} in the options or the environment is a folder with a script peer.py.
    """

    def line_of(
        bench: Any, given: dict[str, str], environment: dict[str, str], **more: Any
    ) -> str:
        (tmp_path / 'peer.py').write_text('COLOR = "/camera"')
        for name in ('VLOC_PEER', 'VLOC_DATA'):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value.format(tmp_path))
        paths = {k: Path(v.format(tmp_path)) for k, v in given.items()}
        assert bench.run(lambda: bench.main(bench.Options(**paths, **more))) == 2
        line = capsys.readouterr().err
        assert line.count('\n') == 1
        return line

    return line_of
