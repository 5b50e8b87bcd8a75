"""Depth is learned without the truth, and scored in metres on blocks of pictures never seen."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vloc_models.networks.fsre import Fsre, FsreConfig

H, W, M = 72, 104, 25


def material(depth: Any, labels: bool = True) -> Any:
    """A camera that passes noise two metres away."""
    rng = np.random.default_rng(0)
    T = np.repeat(np.eye(4)[None], M, 0)
    T[:, 0, 3] = 0.05 * np.arange(M)
    classes = np.zeros((M, H, W), np.uint8)
    classes[:, :, W // 2 :] = 3
    return depth.Material(
        rng.integers(0, 256, (M, H, W, 3)).astype(np.uint8),
        np.repeat(np.array([[90.0, 0, 51.5], [0, 90, 35.5], [0, 0, 1]])[None], M, 0),
        T,
        np.full((M, H, W), 2.0, np.float16),
        classes if labels else None,
    )


@pytest.fixture(scope='module')
def options(depth: Any) -> Any:
    network = FsreConfig(widths=(16, 16, 8, 8, 8))
    return depth.Options(
        config=replace(depth.FsreTraining(), network=network, batch=1),
        size=(64, 96),
        steps=1,
        clusters=4,
    )


def test_blocks_for_choosing_and_for_reporting_are_apart(depth: Any) -> None:
    (train, asked), (other_train, other) = (depth.split(225, h) for h in ('reported', 'tuning'))
    assert asked.sum() == other.sum() == 36
    assert not (asked & other).any()
    for learned, held in ((train, asked), (other_train, other)):
        nearest = np.abs(np.subtract.outer(np.flatnonzero(learned), np.flatnonzero(held))).min()
        assert nearest == 8  # seven left out between
        assert np.diff(np.flatnonzero(held)).max() > 90
    assert train.sum() == other_train.sum() == 161


def test_variants_differ_in_what_they_are_named_for(depth: Any, options: Any) -> None:
    found = {v: depth.recipe(options, v, 2, 15) for v in depth.VARIANTS}
    assert {c.seed for c in found.values()} == {2}
    assert {c.loop.steps for c in found.values()} == {1}
    told = {
        v: (c.network.classes, c.network.attention, c.loss.triplet > 0) for v, c in found.items()
    }
    assert told == {
        'full': (15, True, True),
        'plain': (0, False, False),
        'no triplet': (15, True, False),
        'no attention': (15, False, True),
    }


def test_errors_are_told_apart_at_borders(depth: Any) -> None:
    """Told 2 m everywhere; the truth is 1 m within 3 pixels of the border, elsewhere 2 m."""
    m = material(depth)
    m.depth[:, :, W // 2 - 3 : W // 2 + 3] = 1.0
    m.depth[:, 0] = np.nan
    told = np.full((H, W), 2.0)
    border = next(iter(m.borders()))
    scores = depth._of_picture(told, m.depth[0].astype(float), border)
    assert scores['border'] == pytest.approx(1.0)
    assert scores['inside'] == 0
    assert scores['abs_rel'] == pytest.approx(6 / W)
    assert scores['d1'] == pytest.approx(1 - 6 / W)
    assert scores['median_ratio'] == 1


def test_the_constant_is_of_what_is_learned_from(depth: Any) -> None:
    m = material(depth)
    train, asked = depth.split(M, 'reported')
    m.depth[train] = 3.0
    found = depth.constant(m, train, asked)
    assert found == {'abs_rel': pytest.approx(0.5), 'metres': pytest.approx(3.0)}


def test_pictures_are_made_smaller_with_their_cameras(depth: Any) -> None:
    video = material(depth).video(np.arange(M) < 4, (36, 52), 4)
    assert video.images.shape == (4, 36, 52, 3)
    assert video.labels.shape == (4, 36, 52)
    assert set(np.unique(video.labels)) == {0, 3}
    expected = [[45.0, 0, 25.5], [0, 45, 17.5], [0, 0, 1]]  # the centre stays the centre
    assert np.allclose(video.K, expected)


def test_clusters_take_the_place_of_classes(depth: Any) -> None:
    labels = material(depth, labels=False).video(np.arange(M) < 4, (64, 96), 4).labels
    assert labels.shape == (4, 64, 96)
    assert set(np.unique(labels)) <= {0, 1, 2, 3}
    assert len(np.unique(labels)) > 1


def test_only_the_pictures_asked_for_count(depth: Any) -> None:
    m = material(depth)
    train, asked = depth.split(M, 'reported')
    m.depth[train] = np.nan
    network = Fsre(FsreConfig(widths=(16, 16, 8, 8, 8), classes=0, attention=False)).eval()
    network.size.copy_(torch.tensor([64, 96]))
    scores = depth.score(network, m, asked)
    assert scores['abs_rel'] < 0.3  # told is about 2 m at first
    assert scores['border'] is not None


def test_a_run_is_kept(
    depth: Any, options: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second time nothing is trained; JSON has the headline figures at its top."""
    monkeypatch.setattr(depth, 'kitchen', lambda bag: material(depth))
    told = []
    for _ in range(2):
        depth.main(
            replace(
                options,
                bag=tmp_path,
                json=tmp_path / 'd.json',
                keep=tmp_path / 'kept',
                seeds=2,
                only=('full', 'plain'),
            )
        )
        told.append(json.loads((tmp_path / 'd.json').read_text()))
        monkeypatch.setattr(depth, 'train_fsre', None)
    assert told[0] == told[1]
    assert len(list((tmp_path / 'kept').iterdir())) == 4
    kitchen = told[0]['kitchen']
    assert told[0]['abs_rel'] == kitchen['full']['abs_rel']
    assert told[0]['abs_rel_plain'] == kitchen['plain']['abs_rel']
    assert told[0]['abs_rel_constant'] == kitchen['constant']['abs_rel'] == 0
    runs = kitchen['full']['runs']
    assert kitchen['full']['abs_rel'] == pytest.approx(np.mean([r['abs_rel'] for r in runs]))
    assert kitchen['full']['spread'] == pytest.approx(np.std([r['abs_rel'] for r in runs], ddof=1))
