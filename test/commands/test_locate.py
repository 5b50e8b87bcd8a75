from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vloc_models.commands.main import main
from vloc_models.tum import read_tum


@pytest.fixture
def words(knowing: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    knowing.install(monkeypatch, 'locate')
    return ['locate', str(knowing.bag), '--map', str(knowing.site), '-o', f'{tmp_path}/poses.tum']


def test_accepted_poses_are_written(
    words: list[str], knowing: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 0
    found = read_tum(tmp_path / 'poses.tum')
    assert len(found) == knowing.N - 2
    np.testing.assert_allclose(found.T_map_body[0, :3, 3], [0.02, 0, 0], atol=2e-4)  # of the base
    said = capsys.readouterr().out
    assert said.count('\n') == 1
    assert said.startswith(f'20 frames, 18 accepted (1 none: no pose explains the 3 map points; '
                           f'1 weak: 57 inliers, 60 needed); 18 poses in {tmp_path}')  # fmt: skip


def test_raw_writes_every_solve(words: list[str], knowing: Any, tmp_path: Path) -> None:
    assert main([*words, '--raw']) == 0
    assert len(read_tum(tmp_path / 'poses.tum')) == knowing.N - 1


def test_a_bag_without_any_pose_will_do(
    words: list[str], knowing: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    words[1] = str(knowing.blind)
    assert main(words) == 0
    assert '18 accepted' in capsys.readouterr().out


def test_no_pose_at_all(
    words: list[str],
    knowing: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    knowing.install(monkeypatch, 'locate', mute=True)
    assert main(words) == 0
    assert not len(read_tum(tmp_path / 'poses.tum'))
    assert '0 accepted (20 none: no pose explains the 0 to 19 map points)' in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ('place', 'value', 'complaint'),
    [
        (1, '/nowhere', 'no such bag'),
        (3, '/nowhere', 'no such map'),
        (5, '/nowhere/poses.tum', '/nowhere: no such folder'),
        (5, '/', 'is a folder'),
        (5, 'SITE/poses.tum', 'lies in the map'),
    ],
)
def test_what_cannot_be(
    words: list[str],
    knowing: Any,
    capsys: pytest.CaptureFixture[str],
    place: int,
    value: str,
    complaint: str,
) -> None:
    words[place] = value.replace('SITE', str(knowing.site))
    assert main(words) == 2
    said = capsys.readouterr().err
    assert complaint in said
    assert 'Traceback' not in said
