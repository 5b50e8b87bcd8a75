import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from vloc_models.errors import VlocError
from vloc_models.geometry import se3
from vloc_models.metrics import report
from vloc_models.records import Trajectory

N = 60
# but not of files that earlier tests left open: the collector may find them at any time
only_own_warnings = pytest.mark.filterwarnings('error', 'ignore::ResourceWarning')


def truth() -> Trajectory:
    poses = [se3.exp([3 * np.cos(k / 9), 2 * np.sin(k / 9), 1, 0, 0, k / 9]) for k in range(N)]
    return Trajectory.of([k * 66_666_667 for k in range(N)], poses)


def answers() -> Trajectory:
    """Every tenth missing, every tenth false, every tenth far away and not accepted."""
    t, rng = truth(), np.random.default_rng(0)
    kept = np.arange(N) % 10 != 0
    T = np.stack([T @ se3.exp(rng.normal(size=6) * 0.02) for T in t.T_map_body])
    T[1::10, 0, 3] += 2
    T[2::10, 0, 3] += 1e5
    accepted = np.arange(N) % 10 != 2
    return Trajectory(t.stamps_ns[kept], T[kept], accepted[kept])


@only_own_warnings
@pytest.mark.parametrize(
    ('true', 'said'),
    [
        (truth(), answers()),
        (truth(), truth()),  # perfect: an error of zero on a log axis
        (truth(), Trajectory.of([], [])),
        (Trajectory.of([], []), answers()),
        (Trajectory.of([], []), Trajectory.of([], [])),
    ],
    ids=['usual', 'perfect', 'no-answer', 'no-truth', 'empty'],
)
def test_plots_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, true: Trajectory, said: Trajectory
) -> None:
    monkeypatch.setattr(report, 'DPI', 50)  # sooner done
    paths = report.write_plots(tmp_path / 'a' / 'b', true, said, np.arange(len(said)))
    assert [p.name for p in paths] == [
        'trajectory.png',
        'error_over_time.png',
        'error_curve.png',
        'inliers.png',
    ]
    for path in paths:
        with Image.open(path) as image:
            assert image.width > 300
            assert len(image.convert('RGB').getcolors(2**24) or []) > 10
    assert 'matplotlib.pyplot' not in sys.modules  # no global state


def labels(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_what_is_told_apart() -> None:
    figure = report.trajectory_figure(truth(), answers())
    assert labels(figure) == [
        'truth',
        'no pose (at its truth)',
        'accepted',
        'not accepted',
        'false accept',
    ]
    axes = figure.axes[0]
    marks = {str(line.get_label()): len(np.asarray(line.get_xdata())) for line in axes.get_lines()}
    assert marks['no pose (at its truth)'] == marks['not accepted'] == marks['false accept'] == 6
    assert [t.get_text() for t in axes.texts] == ['poses outside the picture: 6']
    assert axes.get_xlim()[1] < 20  # the poses at 1e5 m do not squeeze the rest
    assert 'false accept' not in labels(report.trajectory_figure(truth(), truth()))


def test_units_stand_on_the_axes() -> None:
    figures = [
        report.trajectory_figure(truth(), answers()),
        report.error_figure(truth(), answers()),
        report.curve_figure(truth(), answers()),
    ]
    assert [a.get_ylabel() for f in figures for a in f.axes] == [
        'map y (m)',
        'position error (cm)',
        'rotation error (deg)',
        'share of all queries (%)',
        '',
    ]
    assert [a.get_xlabel() for f in figures for a in f.axes] == [
        'map x (m)',
        '',
        'time since the first query (s)',
        'position error (cm)',
        'rotation error (deg)',
    ]


def test_the_curve_ends_at_the_answered_share() -> None:
    line = report.curve_figure(truth(), answers()).axes[0].get_lines()[0]
    assert np.asarray(line.get_ydata())[-1] == pytest.approx(90)


def test_no_place_to_write(tmp_path: Path) -> None:
    (tmp_path / 'file').touch()
    with pytest.raises(VlocError, match='name a place'):
        report.write_plots(tmp_path / 'file', truth(), truth())


@only_own_warnings
def test_inliers_over_time() -> None:
    said = answers()
    inliers = np.arange(len(said)) + 40
    figure = report.inliers_over_time_figure(truth(), said, inliers)
    axes = figure.axes[0]
    lines = {str(line.get_label()): line for line in axes.get_lines()}
    x, y = lines['false accept'].get_data()
    np.testing.assert_allclose(np.asarray(x)[:2], [1 / 15, 11 / 15], atol=1e-6)
    np.testing.assert_array_equal(np.asarray(y)[:2], [40, 49])
    assert len(np.asarray(lines['no pose'].get_xdata())) == 6
    assert axes.get_ylabel() == 'inliers'
    assert axes.get_ylim()[0] == 0
    nothing = Trajectory.of([], [])
    for true, some in ((truth(), nothing), (nothing, said), (nothing, nothing)):
        report.inliers_over_time_figure(true, some, inliers[: len(some)])
