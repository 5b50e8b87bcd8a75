"""A bag of noise along a known way, whose stamps are late and whose TF is wrong."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from vloc_models.commands.main import main
from vloc_models.frames.write_bag import WriteOptions, write_bag
from vloc_models.geometry import se3
from vloc_models.geometry.camera import Camera
from vloc_models.records import Array, Fix, Frame, PoseEstimate, Trajectory, Verdict, View

CAMERA = Camera(64, 48, 50.0, 50.0, 31.5, 23.5)
T_told = se3.transform([[0, 0, 1], [-1, 0, 0], [0, -1, 0]], [0.1, 0, 0.5])
START_NS = 10**18


def way(seconds: float) -> Trajectory:
    """T_map_base and T_odom_base alike, at 50 Hz: bends to either side at changing speed."""
    t = np.arange(0, seconds, 0.02)
    yaw = 1.2 * np.sin(0.6 * t) + 0.4 * np.sin(1.7 * t)
    speed = 0.4 + 0.2 * np.sin(0.9 * t)
    x, y = (np.cumsum(speed * f(yaw)) * 0.02 for f in (np.cos, np.sin))
    turns = (se3.exp([0, 0, 0, 0, 0, angle]) for angle in yaw)
    poses = [se3.transform(T[:3, :3], [a, b, 0]) for T, a, b in zip(turns, x, y, strict=True)]
    return Trajectory.of((START_NS + t * 1e9).astype(np.int64).tolist(), poses)


@dataclass
class Recorded:
    """A bag, and a stand-in for a Localizer that knows where its pictures were taken."""

    folder: Path
    delay_ns: int = 0
    T_true: Array | None = None  # of the camera; as told if None
    seconds: float = 40
    accepted: int = 10**6
    stands: bool = False
    odometry: bool = True

    def write(self) -> Path:
        self.way = way(self.seconds)
        if self.stands:
            still = np.tile(np.eye(4), (len(self.way), 1, 1))
            self.way = Trajectory(self.way.stamps_ns, still)
        path = self.folder / 'run'
        odometry = self.way if self.odometry else None
        write_bag(path, self.frames(), WriteOptions(map_tf=False, truth=False), odometry)
        return path

    def frames(self) -> Iterator[Frame]:
        rng = np.random.default_rng(0)
        for stamp in self.way.stamps_ns[10:-10:10].tolist():
            image = rng.integers(0, 256, (48, 64, 3), np.uint8)
            yield Frame(stamp + self.delay_ns, (View(image, CAMERA, T_told),))

    def load(self, *_: object) -> 'Recorded':
        self.asked = 0
        return self

    def locate(self, views: Sequence[View], prior: Array | None = None, stamp_ns: int = 0) -> Fix:
        self.asked += 1
        if self.asked > self.accepted:
            return Fix(stamp_ns, Verdict.NONE, 'no pose explains the 12 map points')
        T = self.way.at(stamp_ns - self.delay_ns, 10**9)
        assert T is not None
        true = T_told if self.T_true is None else self.T_true
        noise = np.random.default_rng(stamp_ns).normal(size=6) * 0.002
        told = T @ true @ se3.exp(noise) @ se3.inverse(views[0].T_base_cam)
        estimate = PoseEstimate(told, np.eye(6) * 1e-4, 99, 0.5, 0.5, 2.0)
        return Fix(stamp_ns, Verdict.ACCEPTED, '99 inliers', estimate)


@pytest.fixture
def words(tmp_path: Path, site: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command line for a bag that is written now."""

    def recorded(**how: Any) -> list[str]:
        bag = Recorded(tmp_path, **how)
        path = bag.write()
        stand_in = SimpleNamespace(load=bag.load)
        monkeypatch.setattr('vloc_models.commands.check.Localizer', stand_in)
        return ['check', str(path), '--map', str(site), '--json', f'{tmp_path}/f.json']

    return recorded


def test_all_is_well(words: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(words()) == 0
    said = capsys.readouterr().out
    assert said.startswith('198 pictures, 198 accepted, ')
    assert 'compared with /odom' in said
    assert said.count('\nright ') == 6
    assert 'whether the camera sits below or above what TF says cannot be told' in said
    assert said.endswith('nothing is found to be wrong\n')
    found = json.loads((tmp_path / 'f.json').read_text())
    assert found['z_cm']['finding'] == 'unknown'
    assert found['delay_ms']['finding'] == 'right'


def test_late_stamps_and_a_wrong_mount(
    words: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    turn = se3.exp([0, 0, 0, 0, 0, np.radians(2)])[:3, :3]
    true = se3.transform(turn @ T_told[:3, :3], T_told[:3, 3] + [0, -0.05, 0])
    assert main(words(delay_ns=84_000_000, T_true=true)) == 2
    said = capsys.readouterr().out
    assert 'wrong    pictures are stamped 8' in said
    assert 'wrong    the camera looks ' in said
    assert ' deg left of what TF says' in said
    assert ' cm right of what TF says' in said
    assert 'to do: subtract 0.08' in said
    assert 'correct TF base_link -> camera_color_optical_frame to --x 0.1000 --y -0.0' in said
    found = json.loads((tmp_path / 'f.json').read_text())
    assert found['delay_ms']['error'] == pytest.approx(84, abs=4)
    assert found['yaw_deg']['error'] == pytest.approx(2, abs=0.3)
    assert found['y_cm']['error'] == pytest.approx(-5, abs=0.7)
    assert found['x_cm']['finding'] == 'right'


def test_early_stamps(words: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words(delay_ns=-60_000_000)) == 2
    said = capsys.readouterr().out
    assert ' ms early' in said
    assert 'to do: add 0.0' in said


def test_without_a_mount_the_delay_alone_is_told(
    words: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main([*words(delay_ns=84_000_000), '--base-frame', '']) == 2
    said = capsys.readouterr().out
    assert ' ms late' in said
    assert 'TF does not tell where the camera sits on the robot: not checked' in said
    assert 'yaw_deg' not in json.loads((tmp_path / 'f.json').read_text())


@pytest.mark.parametrize(
    ('how', 'complaint'),
    [
        ({'odometry': False}, 'no odometry to compare with; record /odom'),
        ({'accepted': 7}, '7 of 198 pictures accepted (191 none: no pose explains the 12 map'),
        ({'stands': True}, 'the robot stands: it moved 0.00 m and turned 0 deg; record a longer'),
        ({'seconds': 5}, '23 fixes, 15 of them with odometry from 1 s before to after'),
    ],
)
def test_what_cannot_be_checked(
    words: Any, how: dict[str, Any], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(**how)) == 2
    said = capsys.readouterr().err
    assert complaint in said
    assert 'Traceback' not in said


def test_a_truncated_bag(words: Any, capsys: pytest.CaptureFixture[str]) -> None:
    line = words(seconds=10)
    (file,) = Path(line[1]).glob('*.mcap')
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 20])
    assert main(line) == 2
    assert 'Traceback' not in capsys.readouterr().err


@pytest.mark.parametrize(
    ('more', 'complaint'),
    [(['--map', '/nowhere'], 'no such map'), (['--json', '/nowhere/f.json'], 'no such folder')],
)
def test_what_cannot_be_named(
    tmp_path: Path,
    site: Path,
    more: list[str],
    complaint: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(['check', str(tmp_path), '--map', str(site), *more]) == 2
    assert complaint in capsys.readouterr().err


def test_a_real_map_and_localizer(gallery: Any, tiny_site: Path, tmp_path: Path) -> None:
    """Past the wall, turning to either side, with pictures stamped 100 ms late."""
    ticks = np.arange(0, 44, 0.25)
    odometry = Trajectory.of(
        (START_NS + ticks * 200_000_000).astype(np.int64).tolist(),
        (gallery.T_map_base(tick) for tick in ticks),
    )
    late = (
        replace(frame, stamp_ns=frame.stamp_ns + 100_000_000, T_odom_base=None, T_map_base=None)
        for frame in gallery.frames()
    )
    write_bag(tmp_path / 'run', late, WriteOptions(map_tf=False, truth=False), odometry)
    assert main(['check', f'{tmp_path}/run', '-m', str(tiny_site), '--json', f'{tmp_path}/f']) == 2
    found = json.loads((tmp_path / 'f').read_text())
    assert found['delay_ms']['finding'] == 'wrong'
    assert found['delay_ms']['error'] == pytest.approx(100, abs=15)
