import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

COUNT = 12


@pytest.mark.parametrize(
    ('count', 'number', 'gap', 'turns'),
    [(225, 5, 5, 2), (225, 5, 5, 1), (20, 3, 0, 4), (7, 7, 1, 3), (10, 2, 2, 2)],
)
def test_every_frame_is_asked_once_a_turn(
    blocks: Any, count: int, number: int, gap: int, turns: int
) -> None:
    splits = list(blocks.splits(count, blocks.SplitConfig(number, gap, turns)))
    assert len(splits) == number * turns
    for turn in range(turns):
        asked = np.concatenate([s.asked for s in splits[turn * number : (turn + 1) * number]])
        assert sorted(asked) == list(range(count))
    assert len({s.name for s in splits}) == len(splits)


def test_the_gap_is_neither_asked_nor_mapped(blocks: Any) -> None:
    for split in blocks.splits(225, blocks.SplitConfig(5, 5, 2)):
        apart = np.abs(split.mapped[:, None] - split.asked).min(1)
        assert apart.min() == 6
        left_out = np.setdiff1d(np.arange(225), np.concatenate([split.asked, split.mapped]))
        assert (np.abs(left_out[:, None] - split.asked).min(1) <= 5).all()


def test_the_second_turn_is_shifted_by_half_a_block(blocks: Any) -> None:
    first, second = np.split(np.array(list(blocks.splits(40, blocks.SplitConfig(4, 1, 2)))), 2)
    assert [s.asked[0] for s in first] == [0, 10, 20, 30]
    assert [s.asked[0] for s in second[:3]] == [5, 15, 25]
    assert second[3].asked.tolist() == [*range(5), *range(35, 40)]
    assert second[3].mapped.tolist() == list(range(6, 34))  # a gap at both parts
    assert first[0].mapped.tolist() == list(range(11, 40))  # the last frame is far from the first


@pytest.mark.parametrize(
    ('number', 'gap', 'turns'),
    [(1, 5, 1), (0, 5, 1), (21, 0, 1), (4, -1, 1), (4, 1, 0), (2, 20, 1)],
)
def test_a_split_that_leaves_nothing_is_refused(
    blocks: Any, number: int, gap: int, turns: int
) -> None:
    with pytest.raises(blocks.VlocError, match='choose 2 or more --blocks'):
        list(blocks.splits(20, blocks.SplitConfig(number, gap, turns)))


def test_only_the_chosen_frames_come(blocks: Any, gallery: Any) -> None:
    gallery = type(gallery)(8)
    stamps = gallery.trajectory().stamps_ns[[2, 3, 7]]
    chosen = blocks.Chosen(gallery, stamps)
    assert len(chosen) == 3
    assert [frame.stamp_ns for frame in chosen.frames()] == stamps.tolist()
    assert [frame.stamp_ns for frame in chosen.frames()] == stamps.tolist()  # and once more
    assert chosen.trajectory().stamps_ns.tolist() == stamps.tolist()
    assert (chosen.trajectory().T_map_body == gallery.trajectory().T_map_body[[2, 3, 7]]).all()
    assert chosen.span_ns == (stamps[0], stamps[-1])
    assert chosen.cameras == gallery.cameras
    assert (chosen.poses_source, chosen.odom_source) == (gallery.poses_source,) * 2
    assert len(chosen.odometry()) == len(gallery)
    chosen.close()


@pytest.fixture
def source(blocks: Any, gallery: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the bench opens: a recording of COUNT frames."""
    source = type(gallery)(COUNT)
    monkeypatch.setattr(blocks, 'open_source', lambda bag: nullcontext(source))
    return source


def told(blocks: Any, folder: Path, **more: Any) -> dict[str, Any]:
    file = folder / 'blocks.json'
    split = blocks.SplitConfig(3, 1, 2)
    options = blocks.Options(folder, folder, file, split=split, **more)
    assert blocks.run(lambda: blocks.main(options)) == 0
    return json.loads(file.read_text())


def test_both_map_the_rest_and_are_asked_the_block(
    blocks: Any, both: Any, source: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    peer = both.install(blocks, COUNT, limit=COUNT // 2 - 1)
    figures = told(blocks, tmp_path)
    assert list(figures) == ['ours', 'peer', 'ratio', 'blocks']
    stamps = source.trajectory().stamps_ns
    splits = list(blocks.splits(COUNT, blocks.SplitConfig(3, 1, 2)))
    assert peer.mapped == [split.mapped.tolist() for split in splits]
    assert [kept for _, kept in both.built] == [stamps[s.mapped].tolist() for s in splits]
    assert figures['ours']['queries'] == figures['peer']['queries'] == 2 * COUNT
    assert figures['ours']['recall_5cm_5deg'] == figures['ratio']['recall_5cm_5deg'] == 0.5
    assert (figures['ours']['accepted'], figures['ours']['false_accepts']) == (COUNT, 0)
    assert figures['peer']['map_MB'] == np.mean([len(split.mapped) for split in splits])
    assert figures['ratio']['ms_per_query_median'] > 0
    assert figures['ours']['map_seconds'] is None  # not all stubs tell it
    single = figures['blocks']
    assert list(single) == [split.name for split in splits]
    assert [b['peer']['queries'] for b in single.values()] == [4] * 6
    assert single['turn_1_block_1']['ours']['recall_5cm_5deg'] == 1
    assert single['turn_1_block_3']['ours']['recall_5cm_5deg'] == 0
    assert single['turn_1_block_3']['ours']['median_cm'] is None
    assert 'turn_2_block_3' in capsys.readouterr().out


def test_finished_maps_are_found_again(
    blocks: Any, both: Any, source: Any, tmp_path: Path
) -> None:
    both.install(blocks, COUNT)
    for _ in range(2):
        told(blocks, tmp_path, keep=tmp_path / 'maps')
    assert len(both.built) == len(list((tmp_path / 'maps').iterdir())) == 6


def test_figures_are_written_after_every_block(
    blocks: Any, both: Any, source: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both.install(blocks, COUNT)
    asked = blocks.ask_both
    calls: list[int] = []

    def then_fails(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 4:
            raise blocks.VlocError('the disk is full', 'make room')
        return asked(*arguments)

    monkeypatch.setattr(blocks, 'ask_both', then_fails)
    options = blocks.Options(
        tmp_path, tmp_path, tmp_path / 'blocks.json', split=blocks.SplitConfig(5, 1, 1)
    )
    assert blocks.run(lambda: blocks.main(options)) == 2
    figures = json.loads((tmp_path / 'blocks.json').read_text())
    assert len(figures['blocks']) == 3
    assert figures['ours']['queries'] == 7


@pytest.mark.parametrize(
    ('given', 'what'),
    [
        ({}, 'no --peer sift_localizer.py is named'),
        ({'peer': '{}/peer.py'}, 'no MAP_BAG is named'),
        ({'peer': '{}/peer.py', 'map_bag': '{}/gone'}, 'gone: no such MAP_BAG'),
        ({'peer': '{}/peer.py', 'map_bag': '{}', 'json': '{}/gone/x.json'}, 'gone: no such'),
    ],
)
def test_what_is_missing_is_said_in_one_line(
    blocks: Any, refused: Callable[..., str], given: dict[str, str], what: str
) -> None:
    assert what in refused(blocks, given, {})


def test_both_must_read_the_same_pictures(
    blocks: Any, both: Any, source: Any, refused: Callable[..., str]
) -> None:
    both.install(blocks, COUNT - 1)
    line = refused(blocks, {'peer': '{}/peer.py', 'map_bag': '{}'}, {})
    assert 'the peer reads 11 pictures with a pose, we 12' in line
