from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from vloc_models.commands.info import show
from vloc_models.commands.main import main
from vloc_models.frames.survey import BagSurvey
from vloc_models.frames.synthetic import DriveSpec, SyntheticSource, SyntheticSpec, WorldSpec
from vloc_models.frames.write_bag import WriteOptions, write_bag
from vloc_models.maps import Encoder, PriorUse


@pytest.fixture(scope='module')
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('info')
    drive = DriveSpec(kind='query', duration_s=2.0, seed=2)
    source = SyntheticSource(SyntheticSpec(WorldSpec(seed=5, rooms=1), drive), folder)
    write_bag(folder / 'bag', source.frames(), WriteOptions(), source.odometry())
    return folder / 'bag'


def test_info_tells_what_a_bag_holds(bag: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['info', str(bag)]) == 0
    said = capsys.readouterr().out
    for words in ('10 frames', '640x480', 'TF map->base_link', '/odom', 'ready'):
        assert words in said


def test_names_with_brackets_are_told_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    words = '/camera[1] (Odometry [m])'
    found = BagSurvey(Path('/run[0]'), 'mcap', 1, 1.0, poses_source=words, odom_source=words)
    show(found, Console(soft_wrap=True))
    said = capsys.readouterr().out
    assert '/run[0]' in said
    assert said.count(words) == 2


def test_info_tells_what_is_missing(bag: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['info', str(bag), '--poses', 'none']) == 2
    assert 'missing: no poses' in capsys.readouterr().out


def test_a_wrong_name_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['info', '/nowhere/at/all']) == 2
    said = capsys.readouterr().err
    assert said.count('\n') == 1
    assert '/nowhere/at/all' in said
    assert 'Traceback' not in said


def test_a_wrong_option_is_exit_code_2() -> None:
    with pytest.raises(SystemExit) as stop:
        main(['info', 'x', '--no-such-option'])
    assert stop.value.code == 2


def test_info_tells_what_a_map_holds(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['info', str(site)]) == 0
    said = capsys.readouterr().out
    for words in (
        str(site),
        'map, 0.0 MB, 3 files beside map.yaml',
        'encoder   vloc-s (aaaaaaaaaaaa), licence MIT, ships with vloc',
        'camera    camera/color: 640x480 plumb_bob, fx 520.1',
        'on the robot at x 0.100 y 0.000 z 0.500 m',
        'sub-map   00: ace, centre x 1.50 y -2.00 z 0.25 m, floor ground',
        'file      submaps/00/head.onnx, 0.5 kB',
        'made from run1',
        'topics    /camera',
        'made by   vloc 0.1.0, c0ffee, 2026-01-02T03:04:05Z',
        'self-test not tested: too few pictures to hold some out',
        "sure      accepts from 55% inliers on; sigma is 2.5 times the solver's (by 120 held-out "
        'pictures in 4 blocks)',
        '          from 50% inliers: median 1.5 cm of 40',
    ):
        assert words in said


def test_info_tells_how_a_map_did(
    sites: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = {'queries': 40, 'recall_10cm_5deg': 0.55, 'median_cm': 3.21, 'accepted': 20}
    figures |= {'accepted_share': 0.5, 'false_accepts': 1}
    origin = replace(sites.INFO.provenance, self_test=figures)
    sites.write(tmp_path / 'site', info=replace(sites.INFO, provenance=origin))
    assert main(['info', str(tmp_path / 'site')]) == 0
    said = capsys.readouterr().out
    assert 'self-test POOR: 55% of 40 held-out pictures within 10 cm and 5 deg, median 3.2' in said
    assert ' cm; 50% accepted, 1 WRONG' in said
    assert '20 accepted, 1 of them wrong' in said


@pytest.mark.parametrize(('pictures', 'by'), [(67, '67 held-out pictures'), (0, 'other maps')])
def test_info_tells_of_a_pose_prior(
    sites: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], pictures: int, by: str
) -> None:
    use = PriorUse(sites.INFO.cameras[0].camera, (1.25, 2.0), pictures)
    sites.write(tmp_path / 'site', info=replace(sites.INFO, prior_use=use))
    assert main(['info', str(tmp_path / 'site')]) == 0
    words = 'prior     for a guess where no pose is found; sigmas times 1.2 and 2.0'
    assert f'{words} (by {by})' in capsys.readouterr().out


def test_a_strangers_map_commands_no_terminal(
    sites: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    encoder = Encoder('[red]x[/red]\x1b[2J', 'a' * 64, 'MIT\nready: a map', 360)
    sites.write(tmp_path / 'site', info=replace(sites.INFO, encoder=encoder, calibration=None))
    assert main(['info', str(tmp_path / 'site')]) == 0
    said = capsys.readouterr().out
    assert '[red]x[/red]' in said
    assert '\x1b' not in said
    assert '\nready' not in said
    assert 'sure      as most maps are: it was too small to be calibrated' in said


def test_a_damaged_map_is_one_line_and_exit_code_2(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (site / 'index.npz').write_bytes(b'x')
    assert main(['info', str(site)]) == 2
    assert 'index.npz: 1 bytes' in capsys.readouterr().err
