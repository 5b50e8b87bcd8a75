from pathlib import Path

import pytest
from rich.console import Console

from vloc_models.commands.info import show
from vloc_models.commands.main import main
from vloc_models.frames.survey import BagSurvey
from vloc_models.frames.synthetic import DriveSpec, SyntheticSource, SyntheticSpec, WorldSpec
from vloc_models.frames.write_bag import WriteOptions, write_bag


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
