"""Depth is learned without the truth, and scored in metres on blocks of pictures never seen."""

import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vloc_models.frames.augment import to_grey
from vloc_models.frames.keyframes import Keyframe
from vloc_models.geometry.camera import Camera
from vloc_models.mapping.self_depth import SelfDepth, SelfDepthConfig
from vloc_models.networks.fsre import Fsre, FsreConfig

H, W, M = 72, 104, 25
CAMERA = Camera(W, H, 90.0, 90.0, 51.5, 35.5)


def frames(labels: bool = True) -> list[Keyframe]:
    """A camera that passes noise two metres away."""
    rng = np.random.default_rng(0)
    classes = np.zeros((H, W), np.uint8)
    classes[:, W // 2 :] = 3
    found = []
    for number in range(M):
        T = np.eye(4)
        T[0, 3] = 0.05 * number
        image = rng.integers(0, 256, (H, W, 3)).astype(np.uint8)
        depth = np.full((H, W), 2.0, np.float16)
        told = classes if labels else None
        found.append(Keyframe(number, to_grey(image), CAMERA, T, depth, image, told))
    return found


@pytest.fixture(scope='module')
def options(depth: Any) -> Any:
    network = FsreConfig(widths=(16, 16, 8, 8, 8))
    return depth.Options(
        config=replace(depth.FsreTraining(), network=network, batch=1),
        short_side_px=64,
        steps=1,
        clusters=4,
    )


def test_blocks_for_choosing_and_for_reporting_are_apart(depth: Any) -> None:
    split = partial(sys.modules['depth_data'].split, 225)
    (train, asked), (other_train, other) = map(split, ('reported', 'tuning'))
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
        v: (c.network.classes, c.network.attention, c.loss.triplet > 0, c.loss.hints > 0)
        for v, c in found.items()
    }
    assert told == {
        'full': (15, True, True, True),
        'plain': (0, False, False, False),
        'no triplet': (15, True, False, True),
        'no attention': (15, False, True, True),
        'no hints': (15, True, True, False),
    }


def test_errors_are_told_apart_at_borders(depth: Any) -> None:
    """Told 2 m everywhere; the truth is 1 m within 3 pixels of the border, elsewhere 2 m."""
    k = frames()[0]
    assert k.depth is not None
    k.depth[:, W // 2 - 3 : W // 2 + 3] = 1.0
    k.depth[0] = np.nan
    told = np.full((H, W), 2.0)
    told[1] = np.nan  # beyond what the network sees
    scores = depth._of_picture(told, k.depth.astype(float), k.labels)
    assert scores['border'] == pytest.approx(1.0)
    assert scores['inside'] == 0
    assert scores['abs_rel'] == pytest.approx(6 / W)
    assert scores['d1'] == pytest.approx(1 - 6 / W)
    assert scores['median_ratio'] == 1


def test_the_constant_is_of_what_is_learned_from(depth: Any) -> None:
    train, asked = depth.parted(frames(), 'reported')
    for k in train:
        assert k.depth is not None
        k.depth[:] = 3.0
    found = depth.constant(train, asked)
    assert found == {'abs_rel': pytest.approx(0.5), 'metres': pytest.approx(3.0)}


@pytest.mark.parametrize('labels', [True, False])
def test_pictures_are_scored_as_they_were_taken(depth: Any, labels: bool) -> None:
    network = Fsre(FsreConfig(widths=(16, 16, 8, 8, 8), classes=0, attention=False)).eval()
    network.size.copy_(torch.tensor([64, 96]))
    learned = SelfDepth(network, SelfDepthConfig(), (96, 64), labels)
    scores = depth.score(learned, depth.parted(frames(labels), 'reported')[1])
    assert scores['abs_rel'] < 0.3  # told is about 2 m at first
    assert (scores['border'] is not None) == labels


def test_a_run_is_kept(
    depth: Any, options: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second time nothing is trained; JSON has the headline figures at its top."""
    monkeypatch.setattr(depth, 'kitchen', lambda bag: frames())
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
        monkeypatch.setattr(depth, 'learn_depth', None)
    assert told[0] == told[1]
    assert len(list((tmp_path / 'kept').iterdir())) == 4
    kitchen = told[0]['kitchen']
    assert told[0]['abs_rel'] == kitchen['full']['abs_rel']
    assert told[0]['abs_rel_plain'] == kitchen['plain']['abs_rel']
    assert told[0]['abs_rel_constant'] == kitchen['constant']['abs_rel'] == 0
    runs = kitchen['full']['runs']
    assert kitchen['full']['abs_rel'] == pytest.approx(np.mean([r['abs_rel'] for r in runs]))
    assert kitchen['full']['spread'] == pytest.approx(np.std([r['abs_rel'] for r in runs], ddof=1))
