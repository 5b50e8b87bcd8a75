"""Each answer is counted where it ends, and what is not as it says is a lie."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vloc_models.geometry import se3
from vloc_models.records import Array, Fix, PoseEstimate, Verdict

T = se3.exp([4, -3, 1, 0.1, -0.2, 2.5])


def fix(verdict: Verdict, off_m: float, sigma_m: float = 0.2) -> Fix:
    guessed = verdict in (Verdict.COARSE, Verdict.PLACE_ONLY)
    T_told = se3.exp([off_m, 0, 0, 0, 0, 0]) @ T
    told = PoseEstimate(T_told, sigma_m**2 * np.eye(6), 50, 0.5, 0.5, 1.0)
    if verdict is Verdict.NONE:
        return Fix(0, verdict, '')
    return Fix(0, verdict, '', None, guess=told) if guessed else Fix(0, verdict, '', told)


@pytest.mark.parametrize(
    ('told', 'truth', 'lie'),
    [
        (fix(Verdict.ACCEPTED, 0.4), T, False),
        (fix(Verdict.ACCEPTED, 0.6), T, True),
        (fix(Verdict.ACCEPTED, 0.0), None, True),
        (fix(Verdict.WEAK, 9.0), T, False),  # it says nothing
        (fix(Verdict.COARSE, 0.8), T, False),  # four sigmas
        (fix(Verdict.COARSE, 1.0), T, True),
        (fix(Verdict.PLACE_ONLY, 2.0, 1.0), T, False),
        (fix(Verdict.PLACE_ONLY, 5.0, 1.0), T, True),
        (fix(Verdict.PLACE_ONLY, 0.0, 1.0), None, True),
        (fix(Verdict.NONE, 0.0), T, False),
        (fix(Verdict.NONE, 0.0), None, False),
    ],
)
def test_what_is_a_lie(rungs: Any, told: Fix, truth: Array | None, lie: bool) -> None:
    assert rungs.lies(truth, told) is lie


def test_a_map_is_asked_at_home_and_elsewhere(
    rungs: Any, gallery: Any, tiny_site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = [(f.views[0], f.T_map_base) for f in list(gallery.drawn)[4:8]]
    noise = np.random.default_rng(0).integers(0, 256, drawn[0][0].image.shape, np.uint8)
    home = [rungs.Asked(*pair) for pair in drawn]
    away = [rungs.Asked(replace(view, image=noise)) for view, _ in drawn]
    cases = [('as_is', home), ('noise and black', away)]
    monkeypatch.setattr(rungs, '_cases', lambda options: iter(cases))
    file = tmp_path / 'rungs.json'
    rungs.main(rungs.Options(map=tiny_site, json=file))
    told = json.loads(file.read_text())
    assert told['cases']['as_is']['accepted'] == 4
    assert told['cases']['as_is']['accepted_cm'] < 5
    assert told['cases']['noise and black']['none'] == 4
    assert told['queries'] == told['queries_elsewhere'] == 4
    assert told['lies'] == told['lies_elsewhere'] == 0
