"""Every way to compare pictures is judged on the same ones; finished runs are found again."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vloc_models.errors import VlocError
from vloc_models.frames.places import Place
from vloc_models.geometry import se3
from vloc_models.training.dasgil import DasgilData

SEEDS = 2


def shown(bench: Any, source: Any) -> Any:
    return sys.modules['retrieval_places']._shown(source, 'gallery', lambda *told: None)


@pytest.fixture
def ready(retrieval: Any, gallery: Any, toy_encoder: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The bench with the toy encoder at one place: the gallery, asked as it is and in the dark."""
    light = shown(retrieval, type(gallery)(11))
    dark = replace(light, views=[replace(v, image=v.image // 4) for v in light.views])
    place = retrieval.Place('kitchen', light, {'as_is': light, 'gamma_2.8': dark})
    monkeypatch.setattr(retrieval, '_places', lambda *told: iter([place]))
    monkeypatch.setattr(retrieval, 'choose_encoder', lambda choice: toy_encoder)
    return retrieval


@pytest.fixture
def toy_data(retrieval: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise instead of rendered worlds and photos."""
    rng = np.random.default_rng(0)
    poses = np.stack([se3.exp([9.0 * n, 0, 0, 0, 0, 0]) for n in range(3)])
    images = rng.integers(0, 256, (2, 3, 256, 256, 3)).astype(np.uint8)
    depth = np.ones((3, 256, 256), np.float16)
    place = Place(images, depth, np.zeros((3, 256, 256), np.uint8), poses)
    monkeypatch.setattr(retrieval.Runs, 'data', lambda *told: DasgilData([place], images[0]))


def told(bench: Any, folder: Path, seeds: int = SEEDS, **more: Any) -> dict[str, Any]:
    file = folder / 'r.json'
    how = {'cases': ('worlds',), 'seeds': tuple(range(seeds))} | more
    options = bench.Options(json=file, keep=folder / 'runs', **how)
    assert bench.run(lambda: bench.main(options)) == 0
    return json.loads(file.read_text())


def test_pictures_that_are_asked_as_they_are_find_themselves(ready: Any, tmp_path: Path) -> None:
    """No DASGIL is trained, as no photos are named; the one that ships is asked."""
    found = told(ready, tmp_path)
    as_is = found['cases']['kitchen, as_is']
    ours = {'ours: VLAD', ready.PRODUCT, 'ours: whitened, 512', ready.VLAD}
    assert ours < set(as_is)
    assert all(name.startswith('DASGIL as it ships: ') for name in set(as_is) - ours)
    for name, figures in as_is.items():
        assert figures['seeds'] == (SEEDS if name in ours else 1)
        assert figures['queries'] == 11
        assert figures['recall_at_1'] == figures['recall_within_1m'] == 1
        assert figures['recall_at_1_std'] == 0
    assert as_is[ready.PRODUCT]['bytes_a_picture'] == 2 * 10  # axes of 11 pictures
    assert found['recall_at_1'] == found['recall_at_1_kitchen'] > 0
    assert found['recall_at_1_vlad'] == found['recall_at_1_vlad_kitchen'] > 0
    assert 'recall_at_1_worlds' not in found


def test_dasgil_is_trained_once(
    ready: Any, toy_data: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some: dict[str, Any] = {'photos': tmp_path, 'steps': 1, 'seeds': 1}
    some['variants'] = ('without classes',)
    found = told(ready, tmp_path, **some)
    methods = found['cases']['kitchen, gamma_2.8']
    for name in ('untrained', 'without classes'):
        assert methods[f'DASGIL {name}: layer 5, L1']['seeds'] == 1
        for way in ('layers 5+6, L1', 'layer 5, cosine', 'R-MAC', 'NetVLAD'):
            assert 0 <= methods[f'DASGIL {name}: {way}']['recall_at_1'] <= 1
    assert methods['DASGIL untrained: layer 5, L1']['bytes_a_picture'] == 8192
    assert methods['DASGIL untrained: layers 5+6, L1']['bytes_a_picture'] == 10240
    kept = sorted(p.name for p in (tmp_path / 'runs').iterdir())
    assert kept == ['dasgil_without_classes_seed_0_1.safetensors']
    monkeypatch.setattr(ready.Runs, 'train', None)
    assert told(ready, tmp_path, **some) == found
    more = some | {'variants': ('without classes', 'none'), 'train': False}
    assert told(ready, tmp_path, **more) == found  # a run that is not finished


def test_the_right_place_is_judged(retrieval: Any) -> None:
    """One query of two has a place in the map, which comes second."""
    poses = [np.stack([se3.exp([x, 0, 0, 0, 0, 0]) for x in xs]) for xs in ((0, 9), (0, 50))]
    likeness = np.array([[0.1, 0.9], [0.5, 0.4]], np.float32)
    compared = sys.modules['retrieval_methods'].Compared(likeness, 7.0)
    figures = retrieval.judged(compared, *poses)
    assert (figures['queries'], figures['unseen'], figures['bytes_a_picture']) == (1, 1, 7)
    assert figures['recall_at_1'] == 0
    with pytest.raises(VlocError, match='no query is of a mapped place'):
        retrieval.judged(compared, poses[0] + 500, poses[1])


def test_medians_are_over_seeds(retrieval: Any) -> None:
    runs = [{'recall_at_1': x, 'queries': 5.0} for x in (0.2, 0.4, 0.9)]
    figures = retrieval.over_seeds(runs)
    assert figures['recall_at_1'] == 0.4
    assert figures['recall_at_1_std'] == pytest.approx(np.std([0.2, 0.4, 0.9]))
    assert (figures['seeds'], figures['queries']) == (3, 5)


def test_what_makes_no_sense_is_refused(retrieval: Any, refused: Callable[..., str]) -> None:
    assert '--variants' in refused(retrieval, {}, {}, variants=('other',))
    assert '--cases' in refused(retrieval, {}, {}, cases=('moon',))
    assert '--seeds' in refused(retrieval, {}, {}, seeds=())
    assert 'VLOC_DATA' in refused(retrieval, {}, {}, cases=('kitchen',))
