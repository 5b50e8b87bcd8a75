"""``vloc depth``: from a bag to a bag with depth and its mask."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vloc_models.commands.main import main
from vloc_models.frames import write_bag as writing
from vloc_models.frames.bag import BagReader
from vloc_models.frames.write_bag import write_bag
from vloc_models.mapping import depth_bag
from vloc_models.records import Frame

COUNT = 16  # frames, taken far apart
FEW = [
    *('--self-depth.short-side-px', '64', '--self-depth.training.batch', '2'),
    *('--self-depth.training.loop.steps', '3', '--self-depth.training.network.classes', '3'),
    *('--self-depth.training.network.first-depth-m', '3'),
    *('--self-depth.training.network.widths', '16', '16', '8', '8', '8'),
]


@pytest.fixture(autouse=True)
def soon(toy_encoder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(depth_bag, 'choose_encoder', lambda choice: toy_encoder)


@pytest.fixture
def record(gallery: Any, tmp_path: Path) -> Callable[..., Path]:
    """Write a short gallery, each view changed by some function."""
    drawn = type(gallery)(COUNT).drawn

    def write(
        view: Callable[[Any], Any] = lambda v: v,
        frame: Callable[[Frame], Frame] = lambda f: f,
        count: int = COUNT,
    ) -> Path:
        frames = (frame(replace(f, views=tuple(view(v) for v in f.views))) for f in drawn[:count])
        write_bag(tmp_path / 'run', frames)
        return tmp_path / 'run'

    return write


def depth(*words: Any, few: bool = True) -> int:
    return main(['depth', *map(str, words), *(FEW if few else [])])


def test_from_bag_to_bag(
    record: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, figures = tmp_path / 'out', tmp_path / 'figures.json'
    assert depth(record(), '-o', out, '--json', figures) == 0
    with BagReader(tmp_path / 'run') as before, BagReader(out) as after:
        assert 'self_depth' in after.views[0].depth
        np.testing.assert_allclose(
            after.trajectory().T_map_body, before.trajectory().T_map_body, atol=1e-6
        )
        shares = []
        for old, new in zip(before.frames(), after.frames(), strict=True):
            (given,), (found,) = old.views, new.views
            assert new.stamp_ns == old.stamp_ns
            assert found.camera == given.camera
            assert found.valid is not None
            assert found.depth is not None
            np.testing.assert_array_equal(np.isfinite(found.depth), found.valid)
            np.testing.assert_allclose(found.depth[found.valid], 3, rtol=0.3)
            shares.append(found.valid.mean())
    told = json.loads(figures.read_text())
    assert told['frames'] == COUNT
    assert told['valid_share'] == pytest.approx(np.mean(shares), abs=1e-6)
    assert told['valid_share'] > 0.25
    assert told['abs_rel_valid'] < 0.2
    assert told['share_of_sensor_valid'] == pytest.approx(told['valid_share'], abs=0.02)
    assert (tmp_path / 'out.preview.jpg').stat().st_size > 10_000
    words = ' '.join(capsys.readouterr().err.split())
    assert f'{COUNT} frames' in words
    assert "against the sensor's depth" in words
    assert not (tmp_path / '.out.work').exists()


def test_it_goes_on_where_it_was(
    record: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bag, learn, learned = record(), depth_bag.learn_depth, []

    def interrupted(*args: Any) -> Any:
        learn(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(depth_bag, 'learn_depth', interrupted)
    assert depth(bag, '-o', tmp_path / 'out') == 130
    assert not (tmp_path / 'out').exists()
    checkpoint = tmp_path / '.out.work' / 'depth.pt'
    assert checkpoint.exists()

    def again(keyframes: Any, teacher: Any, path: Path) -> Any:
        assert path.resolve() == checkpoint.resolve()
        steps = []
        spied = replace(teacher, report=lambda step, done, total: steps.append(step))
        learned.append(learn(keyframes, spied, path))
        assert 'learning depth' not in steps  # all of it was done
        return learned[-1]

    monkeypatch.setattr(depth_bag, 'learn_depth', again)
    assert depth(bag, '-o', tmp_path / 'out', '--no-preview') == 0
    assert learned
    assert not (tmp_path / 'out.preview.jpg').exists()


def test_without_a_sensor_nothing_is_compared(
    record: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = record(lambda v: replace(v, depth=None))
    assert depth(bag, '-o', tmp_path / 'out', '--json', tmp_path / 'f.json') == 0
    assert 'against' not in capsys.readouterr().err
    assert json.loads((tmp_path / 'f.json').read_text())['abs_rel_all'] is None


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    told = capsys.readouterr().err
    assert 'Traceback' not in told
    return ' '.join(told.split())


def still(frame: Frame) -> Frame:
    return replace(frame, T_map_base=np.eye(4), T_odom_base=np.eye(4))


def without_poses(frame: Frame) -> Frame:
    return replace(frame, T_map_base=None, T_odom_base=None)


def labelled(number: int) -> Callable[[Any], Any]:
    return lambda v: replace(v, labels=np.full(v.image.shape[:2], number, np.uint8))


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'frame': still}, 'the poses never move'),
        ({'frame': without_poses}, 'no poses in'),
        ({'count': 1}, 'only one frame with a pose'),
        ({'count': 2}, 'none of 2 pictures finds others that agree'),
        ({'view': labelled(40)}, 'class 40'),
    ],
)
def test_recordings_that_depth_cannot_be_learned_from(
    changes: dict[str, Any],
    words: str,
    record: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert depth(record(**changes), '-o', tmp_path / 'out') == 2
    assert words in one_line(capsys)
    assert not (tmp_path / 'out').exists()


def test_labels_of_another_size(
    record: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mono8 = writing._mono8
    monkeypatch.setattr(writing, '_mono8', lambda header, image: mono8(header, image[:100]))
    bag = record(labelled(1))
    assert depth(bag, '-o', tmp_path / 'out') == 2
    assert '/camera/labels/image_raw/compressed: no labels that' in one_line(capsys)
    assert depth(bag, '-o', tmp_path / 'out', '--label-topics', 'none') == 0


def test_a_truncated_bag(
    record: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = record()
    file = next(bag.glob('*.mcap'))
    file.write_bytes(file.read_bytes()[:-5000])
    assert depth(bag, '-o', tmp_path / 'out') == 2
    assert 'mcap' in one_line(capsys)


def test_where_it_cannot_be_written(
    record: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = record()
    assert depth(bag, '-o', bag) == 2
    assert 'exists already' in one_line(capsys)
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine' / 'letter.txt').touch()
    assert depth(bag, '-o', tmp_path / 'mine', '--overwrite') == 2
    assert 'not only a bag' in one_line(capsys)
    assert depth(bag, '-o', tmp_path / 'out', '--json', tmp_path / 'no' / 'f.json') == 2
    assert 'no such folder' in one_line(capsys)


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        depth('--help', few=False)
    assert end.value.code == 0
    told = capsys.readouterr().out
    assert '--self-depth.moving-classes' in told
    assert 'vloc depth run1 -o run1_depth' in told
