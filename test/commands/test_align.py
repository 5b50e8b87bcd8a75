from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vloc_models.commands.main import main
from vloc_models.frames.options import BagOptions
from vloc_models.frames.source import open_source
from vloc_models.geometry import se3
from vloc_models.mapping.realign import realign
from vloc_models.maps import open_map
from vloc_models.records import Array, Trajectory
from vloc_models.tum import write_tum

T_nav_map = se3.from_xyz_rpy([10.0, -2.0, 0.3], [0, 0, 2.0])


def told(site: Path) -> Array:
    return np.array(open_map(site).info.T_frame_map)


@pytest.fixture
def poses(knowing: Any, tmp_path: Path) -> Path:
    """Poses of AMCL in the frame of a Nav2 map, as a TUM file."""
    with open_source(knowing.bag, BagOptions(poses='truth')) as source:
        truth = source.trajectory()
    write_tum(tmp_path / 'amcl.tum', Trajectory(truth.stamps_ns, T_nav_map @ truth.T_map_body))
    return tmp_path / 'amcl.tum'


@pytest.fixture
def words(knowing: Any, site: Path, poses: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    knowing.install(monkeypatch, 'align')
    return ['align', str(site), '--bag', str(knowing.bag), '--poses', str(poses)]


def test_by_hand_and_back(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    by_hand = ['align', str(site), '--xyz', '12.5', '-3', '0', '--rpy-deg', '0', '0', '90']
    assert main(by_hand) == 0
    turned = se3.from_xyz_rpy([12.5, -3, 0], [0, 0, np.pi / 2])
    np.testing.assert_array_equal(told(site), turned)
    assert capsys.readouterr().out.splitlines() == [
        'was       as recorded',
        'is now    recorded at x 12.500 y -3.000 z 0.000 m, roll 0.00 pitch 0.00 yaw 90.00 deg',
    ]
    assert main(by_hand) == 0  # outright: not once more on top
    np.testing.assert_array_equal(told(site), turned)
    assert main(['info', str(site)]) == 0
    said = capsys.readouterr().out
    assert 'frame     map, recorded at x 12.500 y -3.000 z 0.000 m, roll' in said
    assert 'centre x 14.50 y -1.50 z 0.25 m' in said  # in that frame, too
    assert main(['align', str(site), '--reset']) == 0
    np.testing.assert_array_equal(told(site), np.eye(4))
    assert capsys.readouterr().out.splitlines()[1] == 'is now    as recorded'


def test_a_place_without_a_turn_and_a_turn_without_a_place(site: Path) -> None:
    assert main(['align', str(site), '--xyz', '1', '2', '3']) == 0
    np.testing.assert_array_equal(told(site), se3.transform(np.eye(3), [1, 2, 3]))
    assert main(['align', str(site), '--rpy-deg', '0', '0', '180']) == 0
    np.testing.assert_allclose(told(site), np.diag([-1, -1, 1, 1]), atol=1e-12)


def test_by_a_drive_under_another_localizer(
    words: list[str], site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, '--dry-run']) == 0
    np.testing.assert_array_equal(told(site), np.eye(4))
    assert '\nwould be  recorded at x' in capsys.readouterr().out
    assert main(words) == 0
    np.testing.assert_allclose(told(site), T_nav_map, atol=0.03)
    said = capsys.readouterr().out
    assert '18 of 20 pictures localized; poses from amcl.tum' in said
    assert 'agree: 17 of 18 pictures, median 0 cm, 0.0 deg apart in x, y and yaw' in said


def test_aligned_anew_the_transforms_follow_each_other(words: list[str], site: Path) -> None:
    """The stand-in localizer answers as recorded, here as if that was the frame of until now."""
    first = se3.from_xyz_rpy([1, 2, 3], [0, 0, 1])
    realign(open_map(site), first)
    assert main(words) == 0
    np.testing.assert_allclose(told(site), T_nav_map @ first, atol=0.1)


@pytest.mark.parametrize(
    ('more', 'complaint'),
    [
        ([], 'give one of --bag, --xyz with --rpy-deg, and --reset'),
        (['--reset', '--xyz', '1', '2', '3'], 'give one of'),
        (['--bag', '/nowhere', '--rpy-deg', '1', '2', '3'], 'give one of'),
        (['--xyz', 'nan', '2', '3'], 'T_frame_map holds NaN'),
        (['--rpy-deg', '0', 'inf', '3', '--dry-run'], 'T_frame_map holds NaN'),
        (['--bag', '/nowhere'], '/nowhere: no such bag'),
        (['--bag', 'BLIND'], 'odometry'),
        (['--bag', 'BAG', '--duration-s', '0.5'], '4 pictures have both poses, 10 are needed'),
        (['--bag', 'BAG', '--poses', 'none'], '0 pictures have both poses'),
    ],
)
def test_what_cannot_be(
    words: list[str],
    knowing: Any,
    site: Path,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    complaint: str,
) -> None:
    names = {'BAG': str(knowing.bag), 'BLIND': str(knowing.blind)}
    assert main(['align', str(site), *(names.get(word, word) for word in more)]) == 2
    said = capsys.readouterr().err
    assert complaint in said
    assert 'Traceback' not in said
    np.testing.assert_array_equal(told(site), np.eye(4))


def test_no_map(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['align', '/nowhere', '--reset']) == 2
    assert 'no such map' in capsys.readouterr().err


def test_evaluate_tells_that_the_truth_must_be_of_the_same_frame(
    knowing: Any, site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    knowing.install(monkeypatch, 'evaluate')
    words = ['evaluate', str(knowing.bag), '--map', str(site)]
    assert main(words) == 0
    assert 'aligned' not in capsys.readouterr().err
    assert main(['align', str(site), '--xyz', '1', '2', '3']) == 0
    assert main(words) == 0
    said = capsys.readouterr().err
    assert 'the map is aligned (recorded at x 1.000 y 2.000 z 3.000 m, roll' in said
