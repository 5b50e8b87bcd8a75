"""The same cells, steps and sizes to every network; finished runs are found again."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from vloc_models.networks.ace import Head
from vloc_models.networks.hscnet_lite import HscnetLite

NETWORKS = ('hscnet', 'unconditioned', 'ace', 'sparse')


@pytest.fixture
def ready(hscnet: Any, gallery: Any, toy_encoder: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The bench with the toy encoder, of two places: the gallery, twice."""

    def places(options: Any, folder: Path) -> Any:
        for name in ('kitchen, seed 0', 'building, seed 1'):
            yield hscnet.Place(name, gallery, type(gallery)(8), 1, 0, 3)

    monkeypatch.setattr(hscnet, '_places', places)
    monkeypatch.setattr(hscnet, 'choose_encoder', lambda choice: toy_encoder)
    return hscnet


def told(bench: Any, folder: Path) -> dict[str, Any]:
    file = folder / 'h.json'
    options = bench.Options(json=file, keep=folder / 'runs', cells=4000, networks=NETWORKS)
    assert bench.run(lambda: bench.main(options)) == 0
    return json.loads(file.read_text())


def test_networks_are_of_about_the_same_size(hscnet: Any) -> None:
    plain = Head(hscnet._networks(1, 10, 0)['ace'].head, torch.zeros(3))
    ours = HscnetLite(hscnet._networks(1, 10, 0)['hscnet'].lite, torch.zeros(625, 3))
    counts = [sum(p.numel() for p in network.parameters()) for network in (plain, ours)]
    assert counts[0] == pytest.approx(counts[1], rel=0.05)


def test_conditioning_is_all_that_differs(hscnet: Any) -> None:
    found = hscnet._networks(8, 10, 3)
    assert found['hscnet'].lite.conditioned
    assert not found['unconditioned'].lite.conditioned
    assert {t.loop.steps for t in found.values()} == {10}
    assert {t.seed for t in found.values()} == {3}
    assert {found[name].scenes for name in NETWORKS[:2]} == {8}
    assert len({t.batch for t in found.values()}) == 1


def test_all_are_asked_and_kept(
    ready: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = told(ready, tmp_path)
    for place in ('kitchen, seed 0', 'building, seed 1'):
        runs = first['places'][place]
        assert tuple(runs) == NETWORKS
        assert {r['queries'] for r in runs.values()} == {8}
        assert all(r['cell_cm'] > 0 for r in runs.values())
    kitchen, building = first['places'].values()
    assert first['hscnet_recall_5cm_5deg'] == kitchen['hscnet']['recall_5cm_5deg']
    assert first['ace_recall_5cm_5deg'] == kitchen['ace']['recall_5cm_5deg']
    assert first['building_hscnet_recall'] == building['hscnet']['recall_10cm_5deg']
    assert first['building_ace_recall'] == building['ace']['recall_10cm_5deg']
    monkeypatch.setattr(ready, 'train', None)
    assert told(ready, tmp_path) == first


def test_means_are_over_seeds(hscnet: Any) -> None:
    runs = [{'hscnet': {'recall_10cm_5deg': x}} for x in (0.5, 0.7)]
    places = dict(zip(('building, seed 0', 'building, seed 1'), runs, strict=True))
    assert hscnet._summary(places) == {
        'building_hscnet_recall': pytest.approx(0.6),
        'building_hscnet_recall_spread': pytest.approx(0.1),
    }


def test_what_is_missing_is_named(hscnet: Any, refused: Callable[..., str]) -> None:
    assert 'VLOC_DATA' in refused(hscnet, {}, {}, seeds=())
    assert '--networks other' in refused(hscnet, {}, {}, networks=('other',))
