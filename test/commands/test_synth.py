from pathlib import Path

import pytest

from vloc_models.commands.main import main
from vloc_models.frames.bag import BagReader

SHORT = ['--world.rooms', '1', '--world.seed', '5', '--drive.duration-s', '1']


def test_a_mapping_drive_has_depth_and_map_poses(tmp_path: Path) -> None:
    bag, cache = tmp_path / 'run', tmp_path / 'cache'
    assert main(['synth', str(bag), *SHORT, '--labels', '--cache', str(cache)]) == 0
    with BagReader(bag) as reader:
        frames = list(reader.frames())
        assert reader.poses_source.startswith('TF map')
    assert len(frames) == 5
    assert frames[0].views[0].depth is not None
    assert frames[0].views[0].labels is not None
    assert (tmp_path / 'run.preview.jpg').stat().st_size > 10_000


def test_a_query_drive_of_a_rig_has_no_depth_but_the_truth(tmp_path: Path) -> None:
    bag, cache = tmp_path / 'run', tmp_path / 'cache'
    words = ['synth', str(bag), *SHORT, '--drive.kind', 'query', '--rig', 'stereo']
    assert main([*words, '--no-preview', '--cache', str(cache)]) == 0
    with BagReader(bag) as reader:
        frames = list(reader.frames())
        assert 'ground_truth' in reader.poses_source
    assert len(frames[0].views) == 2
    assert frames[0].views[0].depth is None
    assert not (tmp_path / 'run.preview.jpg').exists()


def test_an_existing_bag_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / 'run').mkdir()
    assert main(['synth', str(tmp_path / 'run'), *SHORT]) == 2
    assert 'exists already' in capsys.readouterr().err


def test_an_impossible_world_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['synth', str(tmp_path / 'run'), '--world.rooms', '0']) == 2
    assert '0 rooms' in capsys.readouterr().err
