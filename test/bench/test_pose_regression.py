"""Every prior is trained alike and asked through its graph; finished runs are found again."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vloc_models.mapping import prior
from vloc_models.mapping.prior import PriorConfig
from vloc_models.networks.color_apr import ColorAprConfig
from vloc_models.training.color_apr import ColorAprTraining

TINY = PriorConfig(
    ColorAprTraining(
        network=ColorAprConfig(widths=(4, 4, 8, 8), fused=16, hidden=16),
        short_side_px=32,
        batch=4,
    )
)


@pytest.fixture
def ready(
    pose_regression: Any, gallery: Any, toy_encoder: Any, monkeypatch: pytest.MonkeyPatch
) -> Any:
    """The bench with the toy encoder, of two seeds of the gallery; nothing is exported."""

    def places(options: Any, folder: Path) -> Any:
        for seed in range(2):
            name = f'gallery, seed {seed}'
            yield pose_regression.Place(name, gallery, type(gallery)(5), options.taught, seed, 3)

    class Engine:
        """Tells a pose near the wall, and sigmas of 1 m and 1 rad."""

        inputs, outputs = ('image',), ('pose', 'sigma')

        def __init__(self, *_: object) -> None:
            pass

        def __call__(self, arrays: Any) -> dict[str, np.ndarray]:
            pose = np.array([[0, 0, 0.5, -0.5, 0.5, -0.5, 0.5]], np.float32)
            return {'pose': pose, 'sigma': np.ones((1, 2), np.float32)}

    monkeypatch.setattr(pose_regression, '_places', places)
    monkeypatch.setattr(pose_regression, 'choose_encoder', lambda choice: toy_encoder)
    monkeypatch.setattr(pose_regression, 'OnnxEngine', Engine)
    monkeypatch.setattr(pose_regression, 'check_probe', lambda *_: 0.0)
    monkeypatch.setattr(prior, 'prior_graph', lambda network, size: b'graph')
    return pose_regression


def told(bench: Any, folder: Path, **more: Any) -> dict[str, Any]:
    file = folder / 'p.json'
    options = bench.Options(json=file, keep=folder / 'runs', config=TINY, **more)
    assert bench.run(lambda: bench.main(options)) == 0
    return json.loads(file.read_text())


def test_what_is_taught_is_all_that_differs(pose_regression: Any) -> None:
    place = pose_regression.Place('x', None, None, (), 0, 7)
    recipes = {
        name: pose_regression._recipe(TINY, name, place).training
        for name in ('colour', 'classes', 'untaught', 'none')
    }
    assert [r.network.aux for r in recipes.values()] == ['colour', 'classes', 'colour', 'none']
    assert [r.loss.auxiliary for r in recipes.values()] == [1, 1, 0, 0]
    assert {(r.loop.steps, r.batch, r.turn_deg, r.short_side_px) for r in recipes.values()} == {
        (7, 4, TINY.training.turn_deg, 32)
    }


def test_all_are_asked_and_kept(
    ready: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = told(ready, tmp_path, taught=('colour', 'none'))
    for place in ('gallery, seed 0', 'gallery, seed 1'):
        runs = first['places'][place]
        assert tuple(runs) == ('colour', 'none', 'retrieved')
        assert all(r['queries'] == 5 for r in runs.values())
        for name in ('colour', 'none'):
            assert runs[name]['nees'] >= 0
            assert 0 <= runs[name]['within_95'] <= 1
        assert 'nees' not in runs['retrieved']
        assert runs['retrieved']['answered_share'] == 1
    seeds = [first['places'][f'gallery, seed {n}']['colour']['sigma_cm'] for n in range(2)]
    assert first['means']['gallery']['colour']['sigma_cm'] == pytest.approx(np.mean(seeds))

    def never(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(ready, '_regressed', never)
    assert told(ready, tmp_path, taught=('colour', 'none')) == first


def test_unknown_names_are_refused(pose_regression: Any, refused: Any) -> None:
    assert 'smells' in refused(pose_regression, {}, {}, taught=('smells',))
