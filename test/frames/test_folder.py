"""7-Scenes and ACE folders."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vloc_models.errors import BagError
from vloc_models.frames.folder import FolderReader
from vloc_models.frames.options import BagOptions
from vloc_models.frames.source import Chain, open_source
from vloc_models.frames.survey import check_mapping, survey

N = 5


def close(actual: Any, expected: Any, **tolerance: Any) -> None:
    np.testing.assert_allclose(actual, expected, **tolerance)


def truth(i: int) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3] = Rotation.from_euler('xyz', [i, 2 * i, 3], degrees=True).as_matrix()
    T[:3, 3] = i, 0.5, -i
    return T


def picture(i: int) -> np.ndarray:
    return np.full((24, 32, 3), (i, 50, 200), np.uint8)


def depth(i: int) -> np.ndarray:
    values = np.full((24, 32), 1500 + i, np.uint16)
    values[0, 0], values[0, 1] = 0, 65535
    return values


def write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image[..., ::-1] if image.ndim == 3 else image)


@pytest.fixture
def seven_scenes(tmp_path: Path) -> Path:
    folder = tmp_path / 'scene' / 'seq-01'
    for i in range(N):
        write(folder / f'frame-{i:06d}.color.png', picture(i))
        write(folder / f'frame-{i:06d}.depth.png', depth(i))
        np.savetxt(folder / f'frame-{i:06d}.pose.txt', truth(i), fmt='%.7e')
    return folder


@pytest.fixture
def ace(tmp_path: Path) -> Path:
    folder = tmp_path / 'ace'
    for name in ('poses', 'calibration'):
        (folder / name).mkdir(parents=True)
    for i in range(N):
        write(folder / 'rgb' / f'f{i}.color.png', picture(i))
        write(folder / 'depth' / f'f{i}.depth.png', depth(i))
        np.savetxt(folder / 'poses' / f'f{i}.pose.txt', truth(i))
        (folder / 'calibration' / f'f{i}.calibration.txt').write_text(f'{500 + i}\n')
    return folder


def check(reader: FolderReader) -> None:
    frames = list(reader.frames())
    assert len(frames) == len(reader) == N
    assert [f.stamp_ns for f in frames] == [round(i * 1e9 / 30) for i in range(N)]
    for i, frame in enumerate(frames):
        (view,) = frame.views
        np.testing.assert_array_equal(view.image, picture(i))
        close(frame.T_map_base, truth(i), atol=1e-6)
        np.testing.assert_array_equal(view.T_base_cam, np.eye(4))
        assert view.depth is not None
        assert np.isnan(view.depth[0, :2]).all()
        close(view.depth[1:], 1.5 + i / 1000, rtol=1e-6)
    assert len(reader.trajectory()) == N
    assert len(reader.odometry()) == 0
    assert any('30 Hz' in note for note in reader.notes)


def test_seven_scenes(seven_scenes: Path) -> None:
    reader = open_source(seven_scenes)
    assert isinstance(reader, FolderReader)
    check(reader)
    camera = reader.cameras[0].camera
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (525, 525, 16, 12)
    reader = FolderReader(seven_scenes, BagOptions(focal_px=585))
    assert reader.cameras[0].camera.fx == 585
    assert survey(seven_scenes).frames == N
    assert not any(p.fatal for p in survey(seven_scenes).problems)


def test_ace(ace: Path) -> None:
    reader = open_source(ace)
    assert isinstance(reader, FolderReader)
    check(reader)
    assert [f.views[0].camera.fx for f in reader.frames()] == [500 + i for i in range(N)]
    K = '510 0 15\n0 511 11\n0 0 1\n'
    (ace / 'calibration' / 'f0.calibration.txt').write_text(K)
    camera = FolderReader(ace).cameras[0].camera
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (510, 511, 15, 11)


def test_window(ace: Path) -> None:
    reader = FolderReader(ace, BagOptions(start_s=0.03, every=2, poses='none'))
    frames = list(reader.frames())
    assert [f.views[0].image[0, 0, 0] for f in frames] == [1, 3]
    assert all(f.T_map_base is None for f in frames)


def test_two_sequences_follow_one_another(seven_scenes: Path, ace: Path) -> None:
    both = open_source([seven_scenes, ace])
    assert isinstance(both, Chain)
    stamps = [f.stamp_ns for f in both.frames()]
    assert len(stamps) == len(both.trajectory()) == 2 * N
    assert stamps == sorted(set(stamps))


def test_scene_of_several_sequences(seven_scenes: Path) -> None:
    with pytest.raises(BagError, match='name some of them: seq-01'):
        open_source(seven_scenes.parent)


def test_a_frame_without_a_pose(ace: Path) -> None:
    for i, T in ((1, np.full((4, 4), np.nan)), (2, np.diag([2.0, 1, 1, 1]))):
        np.savetxt(ace / 'poses' / f'f{i}.pose.txt', T)
    reader = FolderReader(ace)
    assert [f.T_map_base is None for f in reader.frames()] == [False, True, True, False, False]
    assert len(check_mapping(reader)) == 3
    assert sum('holds no pose' in note for note in reader.notes) == 2


@pytest.mark.parametrize(
    ('name', 'text', 'words'),
    [
        ('rgb/f0.color.png', 'no picture', r'f0\.color\.png: not a picture'),
        ('depth/f0.depth.png', 'no picture', r'f0\.depth\.png: not a depth picture'),
        ('poses/f0.pose.txt', '1 2 x', r'f0\.pose\.txt: not a matrix'),
        ('poses/f0.pose.txt', '1 2 3', r'f0\.pose\.txt: \(3,\) numbers'),
        ('calibration/f0.calibration.txt', '1 2', r'f0\.calibration\.txt: \(2,\) numbers'),
        ('calibration/f0.calibration.txt', '0', r'f0\.calibration\.txt: camera 32x24: fx 0'),
        ('poses/g.txt', '', '5 pictures in rgb/, but 6 in poses/'),
        ('calibration/g.txt', '', 'but 6 in calibration/'),
    ],
)
def test_bad_files(ace: Path, name: str, text: str, words: str) -> None:
    (ace / name).write_text(text)
    with pytest.raises(BagError, match=words):
        list(FolderReader(ace).frames())
    assert any(p.fatal for p in survey(ace).problems)


def test_names_must_match(ace: Path) -> None:
    (ace / 'poses' / 'f0.pose.txt').rename(ace / 'poses' / 'g0.pose.txt')
    with pytest.raises(BagError, match=r'f0\.color\.png stands beside f1\.pose\.txt'):
        len(FolderReader(ace))


def test_missing_pose_file_and_empty_folder(seven_scenes: Path, tmp_path: Path) -> None:
    (seven_scenes / 'frame-000003.pose.txt').unlink()
    with pytest.raises(BagError, match=r'frame-000003\.pose\.txt'):
        open_source(seven_scenes).trajectory()
    (tmp_path / 'empty' / 'rgb').mkdir(parents=True)
    with pytest.raises(BagError, match='no pictures'):
        len(open_source(tmp_path / 'empty'))
    with pytest.raises(BagError, match='no such bag or folder'):
        open_source(tmp_path / 'nowhere')
    with pytest.raises(BagError, match='no recording is named'):
        open_source([])
