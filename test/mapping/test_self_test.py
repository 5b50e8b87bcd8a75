"""What the self-test counts, and how it says it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from vloc_models.frames.keyframes import Keyframe, read_keyframes
from vloc_models.geometry import se3
from vloc_models.mapping import self_test as module
from vloc_models.mapping.self_test import in_words, self_test
from vloc_models.records import Fix, PoseEstimate, Verdict, View


def asked(
    queries: list[Keyframe], monkeypatch: pytest.MonkeyPatch, off_m: tuple[float | None, ...]
) -> dict[str, float | None]:
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
        estimate = PoseEstimate(T, np.eye(6), 100, 0.5, 0.5, 1.0)
        return Fix(0, Verdict.ACCEPTED if off < 1 else Verdict.WEAK, '', estimate)

    monkeypatch.setattr(module, 'open_map', lambda path: None)
    localizer = SimpleNamespace(of=lambda site: SimpleNamespace(locate=locate))
    monkeypatch.setattr(module, 'Localizer', localizer)
    return self_test(Path('site'), queries)


@pytest.fixture(scope='module')
def queries(gallery: Any) -> list[Keyframe]:
    return read_keyframes(gallery, 44, 120)[:5]


def test_figures(queries: list[Keyframe], monkeypatch: pytest.MonkeyPatch) -> None:
    figures = asked(queries, monkeypatch, (0.01, None, 0.07, 0.7, 1.5))
    assert figures['queries'] == 5
    assert figures['answered'] == 4
    assert figures['accepted'] == 3
    assert figures['false_accepts'] == 1
    assert figures['recall_10cm_5deg'] == pytest.approx(2 / 5)
    assert figures['median_cm'] == pytest.approx(70)
    assert in_words(figures) == 'POOR: 40% of 5 held-out pictures within 10 cm and 5 deg, ' + (
        'median 70.0 cm'
    )


def test_no_pose_at_all(queries: list[Keyframe], monkeypatch: pytest.MonkeyPatch) -> None:
    figures = asked(queries, monkeypatch, (None,) * 5)
    assert figures['median_cm'] is None
    assert 'POOR: 0%' in in_words(figures)
    assert 'most got no pose' in in_words(figures)


@pytest.mark.parametrize(
    ('near', 'grade'),
    [(1.0, 'good'), (0.9, 'good'), (0.89, 'fair'), (0.6, 'fair'), (0.59, 'POOR')],
)
def test_grades(near: float, grade: str) -> None:
    figures: dict[str, float | None] = {'queries': 9.0, 'recall_10cm_5deg': near, 'median_cm': 4.2}
    assert in_words(figures).startswith(grade)


def test_no_test_is_no_grade() -> None:
    assert in_words({}).startswith('not tested')
    assert in_words({'queries': 0, 'map_seconds': 3.0}).startswith('not tested')
