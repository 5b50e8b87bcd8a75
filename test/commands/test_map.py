"""``vloc map`` from a bag to a map and a verdict on it; whatever is wrong is one line."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vloc_models.commands import map as command
from vloc_models.commands.main import main
from vloc_models.frames.write_bag import WriteOptions, write_bag
from vloc_models.localize.localizer import Localizer
from vloc_models.mapping import build_map as module
from vloc_models.mapping import heads
from vloc_models.mapping.self_test import Figures, SelfTest
from vloc_models.maps import Calibration, open_map

TINY = ['--buffer.cells', '6000', '--training.batch', '512', '--training.head.width', '32']
TINY += ['--training.loop.steps', '20']


@pytest.fixture(scope='module')
def bag(gallery: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('bags') / 'run'
    write_bag(path, gallery.drawn)
    return path


@pytest.fixture(scope='module')
def lost(gallery: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bag without poses."""
    path = tmp_path_factory.mktemp('bags') / 'lost'
    write_bag(
        path,
        [replace(f, T_odom_base=None) for f in gallery.drawn[:12]],
        WriteOptions(map_tf=False, truth=False),
    )
    return path


@pytest.fixture(autouse=True)
def soon(build_soon: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    build_soon(monkeypatch)


def test_a_bag_becomes_a_map(
    bag: Path, gallery: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / 'new' / 'site'
    assert main(['map', str(bag), '-o', str(out), *TINY]) == 0
    said = capsys.readouterr()
    assert not said.out
    lines = said.err.splitlines()
    for step in ('reading', 'encoding', 'training', 'testing', 'training with all'):
        assert sum(line.startswith(step + '  ') for line in lines) == 1
    assert sum(line.startswith('looking for places that look alike ') for line in lines) == 1
    written, tested = lines[-2:]
    assert written.startswith(f'written: {out} (')
    assert written.endswith(' s)')
    assert tested.startswith('self-test POOR: ')  # after 20 steps
    assert 'held-out pictures within 10 cm' in tested
    site = open_map(out)
    assert site.info.provenance.bags == (str(bag),)
    assert site.info.provenance.topics == ('/camera/color/image_raw/compressed',)
    assert Localizer.of(site).locate(gallery.drawn[0].views).reason


def test_two_bags_replace_a_map_and_one_run_goes_on_with_another(
    bag: Path,
    tmp_path: Path,
    sites: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def stops(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    words = ['map', str(bag), str(bag), '-o', str(tmp_path / 'site'), *TINY, '--max-images', '24']
    sites.write(tmp_path / 'site')
    with monkeypatch.context() as patch:
        patch.setattr(heads, 'train_head', stops)
        assert main(words) == 130
    assert 'interrupted' in capsys.readouterr().err
    assert sites.holds(tmp_path / 'site', 'old')
    assert main(words) == 0
    said = capsys.readouterr().err
    assert 'going on with the build' in said
    assert 'encoding' not in said
    assert 'self-test not tested: too few pictures' in said
    assert open_map(tmp_path / 'site').info.provenance.bags == (str(bag), str(bag))


def test_a_good_map_is_not_called_poor(
    bag: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    figures: Figures = {
        'queries': 6,
        'recall_10cm_5deg': 1.0,
        'median_cm': 1.25,
        'accepted_share': 5 / 6,
    }
    tests = SelfTest(figures | {'false_accepts': 0}, Calibration(7.5, 0.62, 6, 3))
    monkeypatch.setattr(module, 'self_test', lambda *_: tests)
    assert main(['map', str(bag), '-o', str(tmp_path / 'site'), *TINY]) == 0
    assert capsys.readouterr().err.endswith(
        'self-test good: 100% of 6 held-out pictures within 10 cm and 5 deg, median 1.2 cm; '
        '83% accepted, none wrong\n'
    )
    assert open_map(tmp_path / 'site').info.calibration == tests.calibration


def test_the_licence_of_the_encoder_is_told(
    bag: Path,
    tmp_path: Path,
    toy_encoder: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    record = replace(toy_encoder.record, licence='for non-commercial use only')
    encoder = replace(toy_encoder, record=record)
    monkeypatch.setattr(module, 'choose_encoder', lambda choice: encoder)
    words = ['map', str(bag), '-o', str(tmp_path / 'site'), *TINY, '--max-images', '12']
    assert main(words) == 0
    said = capsys.readouterr().err
    assert said.endswith('licence of its encoder: for non-commercial use only\n')


def test_bad_input_is_one_line(
    bag: Path, lost: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / 'file').write_text('mine')
    new = str(tmp_path / 'site')
    for words, complaint in [
        ([str(tmp_path / 'none'), '-o', new], 'no such bag'),
        (['-o', new], 'no recording is named'),
        ([str(lost), '-o', new], 'pose'),
        ([str(bag), '-o', str(tmp_path / 'file')], 'is a file'),
        ([str(bag), '-o', '/dev/null/site'], '/dev/null/site'),
        ([str(bag), '-o', new, '--device', 'toaster'], 'device toaster'),
        ([str(bag), '-o', new, '--duration-s', '1', *TINY], 'too few for a map'),
        ([str(bag), '-o', new, '--held-out.blocks', '0', *TINY], 'held out'),
        ([str(bag), '-o', new, '--buffer.cells', '0'], 'buffer'),
        ([str(bag), '-o', new, '--training.batch', '0'], 'training'),
        ([str(bag), '-o', new, '--training.loop.max-lr', '0'], 'training'),
        ([str(bag), '-o', new, '--training.loop.steps', '-1'], 'training'),
    ]:
        assert main(['map', *words]) == 2, words
        lines = capsys.readouterr().err.splitlines()
        assert complaint in lines[-1]
        assert lines[-1].startswith('vloc: ')
        assert sum('vloc: ' in line for line in lines) == 1
        assert not any('Traceback' in line for line in lines)
    assert (tmp_path / 'file').read_text() == 'mine'
    assert not Path(new).exists()


def test_an_unknown_option_is_exit_code_2(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stop:
        main(['map', 'run', '-o', str(tmp_path / 'site'), '--speed', '3'])
    assert stop.value.code == 2


def test_every_setting_has_a_default() -> None:
    assert module.MappingConfig() == command._CONFIG


def test_a_new_map_is_told_as_recorded_and_says_so_where_the_old_one_was_not(
    sites: Any, bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, words = tmp_path / 'site', 'align this one anew'
    sites.write(out)
    assert main(['align', str(out), '--xyz', '1', '2', '3']) == 0
    again = ['map', str(bag), '-o', str(out), '--instant', *TINY]
    assert main(again) == 0
    assert words in capsys.readouterr().err
    assert main(['info', str(out)]) == 0
    assert 'frame     map, as recorded' in capsys.readouterr().out
    assert main(again) == 0
    assert words not in capsys.readouterr().err
