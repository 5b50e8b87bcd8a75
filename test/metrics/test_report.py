import io
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


@only_own_warnings
def test_points_are_drawn() -> None:
    grey = np.full((100, 160, 3), 128, np.uint8)
    pixels = np.array([[20.0, 20], [60, 20], [100, 20], [140, 20], [20, 80]])
    seen = np.array([[23.0, 20], [60, 26], [1e300, 20], [np.nan, np.nan], [np.inf, 80]])
    out = report.draw_points(grey, pixels, seen, np.array([True, False, False, False, False]))
    assert (grey == 128).all()  # the picture given stays as it is
    green, red = (40, 190, 90), (235, 60, 30)
    assert tuple(out[20, 23]) == green
    assert tuple(out[20, 20]) == (128, 128, 128)
    assert tuple(out[26, 60]) == red
    np.testing.assert_allclose(out[21, 60], red, atol=30)  # the line from its cell
    np.testing.assert_allclose(out[20, 108], red, atol=30)  # as long as fits
    assert tuple(out[20, 115]) == (128, 128, 128)
    assert tuple(out[20, 140]) == red  # nowhere: at its cell
    assert (out[85:] == 128).all()


def test_no_points_and_wrong_shapes() -> None:
    grey, none = np.full((10, 16, 3), 128, np.uint8), np.zeros((0, 2))
    assert (report.draw_points(grey, none, none, np.zeros(0, bool)) == grey).all()
    with pytest.raises(VlocError, match='reprojected'):
        report.draw_points(grey, np.zeros((2, 2)), none, np.zeros(2, bool))


def test_a_picture_becomes_a_small_jpeg() -> None:
    red = np.zeros((90, 200, 3), np.uint8)
    red[..., 0] = 200
    for width, size in ((100, (100, 45)), (1000, (200, 90))):
        with Image.open(io.BytesIO(report.jpeg(red, width))) as image:
            assert image.size == size
            r, g, b = np.asarray(image).mean((0, 1))
            assert r > 190
            assert max(g, b) < 10
