"""What the self-test counts, and how it says it."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from vloc_models.frames.keyframes import Keyframe, read_keyframes
from vloc_models.geometry import se3
from vloc_models.localize.localizer import LocalizerConfig
from vloc_models.localize.verdict import VerdictConfig
from vloc_models.mapping import self_test as module
from vloc_models.mapping.self_test import NOT_TESTED, SelfTest, in_words, self_test
from vloc_models.records import Fix, PoseEstimate, Verdict, View


def asked(
    queries: list[Keyframe], monkeypatch: pytest.MonkeyPatch, off_m: tuple[float | None, ...]
) -> SelfTest:
    """With a localizer that errs so much; None: no pose. Beyond a metre it is not sure."""
    seen: list[View] = []

    def locate(views: list[View]) -> Fix:
        (view,) = views
        k = len(seen)
        seen.append(view)
        np.testing.assert_array_equal(view.image, np.repeat(queries[k].grey[..., None], 3, 2))
        np.testing.assert_array_equal(view.T_base_cam, np.eye(4))
        off = off_m[k]
        if off is None:
            return Fix(0, Verdict.NONE, '')
        T = queries[k].T_map_cam @ se3.exp([off, 0, 0, 0, 0, 0])
        ratio = 0.5 if off < 1 else 0.3  # by which it is judged anew
        estimate = PoseEstimate(T, np.eye(6), 100, ratio, 0.5, 1.0)
        return Fix(0, Verdict.ACCEPTED if off < 1 else Verdict.WEAK, '', estimate)

    monkeypatch.setattr(module, 'open_map', lambda path: None)
    loose = VerdictConfig(max_sigma_m=1e9)
    localizer = SimpleNamespace(locate=locate, config=LocalizerConfig(verdict=loose), limits=loose)
    localizer.calibrated = lambda found: localizer
    monkeypatch.setattr(module, 'Localizer', SimpleNamespace(of=lambda site: localizer))
    told: list[tuple[int, int]] = []
    tests = self_test(Path('site'), queries, [0, 0, 0, 1, 1], lambda *x: told.append(x))
    assert told == [(done, 5) for done in range(1, 6)]
    return tests


@pytest.fixture(scope='module')
def queries(gallery: Any) -> list[Keyframe]:
    return read_keyframes(gallery, 44, 120)[:5]


def test_figures(queries: list[Keyframe], monkeypatch: pytest.MonkeyPatch) -> None:
    figures = asked(queries, monkeypatch, (0.01, None, 0.07, 0.7, 1.5)).figures
    assert figures['queries'] == 5
    assert figures['answered'] == 4
    assert figures['accepted'] == 3
    assert figures['false_accepts'] == 1
    assert figures['recall_10cm_5deg'] == pytest.approx(2 / 5)
    assert figures['median_cm'] == pytest.approx(70)
    assert in_words(figures) == 'POOR: 40% of 5 held-out pictures within 10 cm and 5 deg, ' + (
        'median 70.0 cm; 60% accepted, 1 WRONG'
    )


def test_it_calibrates_by_the_blocks(
    queries: list[Keyframe], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong answer in one that decides raises what is asked for; a weak one does not."""
    for off_m, least, rows in (
        (0.7, 0.53, [(0.5, 4, 4.0)]),
        (1.5, 0.5, [(0.25, 1, 150.0), (0.5, 3, 3.0)]),
    ):
        found = asked(queries, monkeypatch, (0.01, 0.03, off_m, None, 0.05)).calibration
        assert found is not None
        assert (found.queries, found.blocks) == (5, 2)
        assert found.min_inlier_ratio == pytest.approx(least)
        told = [(e.inlier_ratio, e.queries, pytest.approx(e.median_cm)) for e in found.errors]
        assert told == rows


def test_what_is_kept_comes_back(queries: list[Keyframe], monkeypatch: pytest.MonkeyPatch) -> None:
    tests = asked(queries, monkeypatch, (0.01, None, 0.07, 0.7, 1.5))
    nothing = asked(queries, monkeypatch, (None,) * 5)
    assert nothing.figures['median_cm'] is None
    for one in (tests, nothing, NOT_TESTED):
        assert SelfTest.of_json(json.loads(json.dumps(one.as_json()))) == one


def test_no_pose_at_all(queries: list[Keyframe], monkeypatch: pytest.MonkeyPatch) -> None:
    figures = asked(queries, monkeypatch, (None,) * 5).figures
    assert figures['median_cm'] is None
    assert 'POOR: 0%' in in_words(figures)
    assert 'most got no pose; 0% accepted, none wrong' in in_words(figures)


@pytest.mark.parametrize(
    ('near', 'accepted', 'wrong', 'grade'),
    [
        (1.0, 1.0, 0, 'good'),
        (0.9, 0.8, 0, 'good'),
        (0.89, 1.0, 0, 'fair'),
        (0.6, 1.0, 0, 'fair'),
        (0.59, 1.0, 0, 'POOR'),
        (1.0, 0.79, 0, 'fair'),
        (1.0, 0.4, 0, 'fair'),
        (1.0, 0.39, 0, 'POOR'),
        (1.0, 1.0, 1, 'fair'),
        (1.0, 1.0, 2, 'POOR'),
    ],
)
def test_grades(near: float, accepted: float, wrong: int, grade: str) -> None:
    figures: dict[str, float | None] = {'queries': 9.0, 'recall_10cm_5deg': near, 'median_cm': 4.2}
    words = in_words(figures | {'accepted_share': accepted, 'false_accepts': wrong})
    assert words.startswith(grade)
    assert words.endswith(
        f'; {accepted:.0%} accepted, {f"{wrong} WRONG" if wrong else "none wrong"}'
    )


def test_no_test_is_no_grade() -> None:
    assert in_words({}).startswith('not tested')
    assert in_words({'queries': 0, 'map_seconds': 3.0}).startswith('not tested')
