"""Plots of an evaluation: the way from above, the error over time, the error curve, the inliers.

A plot is a Figure that belongs to nobody (no pyplot, no display). Colours are Okabe and Ito's,
which colour-blind readers can tell apart; shapes and dashes say the same again.
"""

import logging
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vloc_models.errors import VlocError
from vloc_models.metrics import trajectory as metric
from vloc_models.records import Array, Trajectory

TRUTH, ESTIMATE, WRONG, NONE = '0.75', '#0072B2', '#D55E00', '#CC79A7'
DPI = 150
Marks = NDArray[np.bool_]
_FLOOR_CM, _FLOOR_DEG = 0.01, 0.001  # what a perfect answer shows as on a log axis
_log = logging.getLogger(__name__)


def write_plots(
    folder: Path,
    truth: Trajectory,
    estimate: Trajectory,
    inliers: NDArray[np.int64] | None = None,
) -> list[Path]:
    """Write all plots as PNG files and return their paths.

    Args:
        folder: created if missing.
        truth: ``T_map_cam`` of every query.
        estimate: ``T_map_cam`` of the answered ones.
        inliers: [M] of every estimate, if known.

    Raises:
        VlocError: if the folder cannot be written to.
    """
    figures = {
        'trajectory': trajectory_figure(truth, estimate),
        'error_over_time': error_figure(truth, estimate),
        'error_curve': curve_figure(truth, estimate),
    }
    if inliers is not None:
        figures['inliers'] = inlier_figure(truth, estimate, inliers)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, figure in figures.items():
            figure.savefig(folder / f'{name}.png', dpi=DPI)
    except OSError as e:
        raise VlocError(f'{folder}: {e.strerror}', 'name a place that can be written to') from e
    _log.info('%s: %d plots', folder, len(figures))
    return [folder / f'{name}.png' for name in figures]


def trajectory_figure(truth: Trajectory, estimate: Trajectory) -> Figure:
    """The way from above (map x to the right, y up, metres); poses far off it are only counted."""
    figure, (axes,) = _figure(1, (7.5, 7.5))
    e = metric.errors(truth, estimate)
    wrong = metric.false_accepts(estimate, e)
    p, q = truth.T_map_body[:, :2, 3], estimate.T_map_body[:, :2, 3]
    axes.plot(*_broken_at_gaps(truth, p).T, '-', color=TRUTH, lw=5, label='truth')
    axes.plot(*p[e.estimate < 0].T, 'x', color=NONE, ms=6, mew=1.5, label='no pose (at its truth)')
    _mark(axes, q[:, 0], q[:, 1], estimate.accepted, wrong)
    for query in np.flatnonzero(e.estimate >= 0):
        if wrong[e.estimate[query]]:  # from where it was to where it was said to be
            axes.plot(*np.stack([p[query], q[e.estimate[query]]]).T, ':', color=WRONG, lw=1.2)
    axes.set(xlabel='map x (m)', ylabel='map y (m)')
    _look_at(axes, p if len(p) else q, q)
    _legend(figure, axes, columns=3)
    return figure


def error_figure(truth: Trajectory, estimate: Trajectory) -> Figure:
    """Distance and angle of every query over time, log scale; no pose is a tick at the top."""
    figure, rows = _figure(2, (10, 6.5), sharex=True)
    e = metric.errors(truth, estimate)
    found = e.estimate >= 0
    j, t = e.estimate[found], _seconds(truth)
    wrong = metric.false_accepts(estimate, e)[j]
    for axes, value, limit, floor, label in (
        (rows[0], e.error_m * 100, metric.FALSE_M * 100, _FLOOR_CM, 'position error (cm)'),
        (rows[1], e.error_deg, metric.FALSE_DEG, _FLOOR_DEG, 'rotation error (deg)'),
    ):
        axes.set_yscale('log')
        axes.yaxis.set_major_formatter(_plain)
        axes.axhline(limit, color=WRONG, ls='--', lw=1.2, label='wrong above')
        _mark(axes, t[found], np.maximum(value[found], floor), estimate.accepted[j], wrong)
        _ticks(axes, t[~found])
        axes.set_ylabel(label)
        axes.margins(y=0.12)
    rows[1].set_xlabel('time since the first query (s)')
    _legend(figure, rows[0], columns=5)
    return figure


def curve_figure(truth: Trajectory, estimate: Trajectory) -> Figure:
    """The share of all queries below an error; it ends at the share that got a pose."""
    figure, columns = _figure(1, (10, 4.6), columns=2)
    e = metric.errors(truth, estimate)
    for axes, value, floor, marks, label in (
        (columns[0], e.error_m * 100, _FLOOR_CM, (5, 10, 25, 50), 'position error (cm)'),
        (columns[1], e.error_deg, _FLOOR_DEG, (5, 10), 'rotation error (deg)'),
    ):
        x = np.sort(np.maximum(value[np.isfinite(value)], floor))
        share = 100 * np.arange(len(x) + 1) / max(len(value), 1)
        axes.set_xscale('log')
        axes.xaxis.set_major_formatter(_plain)
        axes.step(np.append(floor, x), share, where='post', color=ESTIMATE, lw=2)
        text = f'{share[-1]:.3g} % have a pose'
        white = {'fc': 'white', 'ec': 'none', 'pad': 1}
        where = {'xycoords': 'axes fraction', 'ha': 'right', 'fontsize': 11, 'bbox': white}
        axes.annotate(text, (0.98, 0.03), **where)
        for mark in marks:
            axes.axvline(mark, color='0.5', ls=':', lw=1)
            axes.annotate(f'{mark}', (mark, 101), ha='center', fontsize=9, annotation_clip=False)
        left = min(0.8 * x[0], 1) if len(x) else 1
        right = max(1.2 * x[-1], 1.2 * marks[-1]) if len(x) else 1.2 * marks[-1]
        axes.set(xlabel=label, xlim=(left, right), ylim=(0, 100))
    columns[0].set_ylabel('share of all queries (%)')
    return figure


def inlier_figure(truth: Trajectory, estimate: Trajectory, inliers: NDArray[np.int64]) -> Figure:
    """What an answer's inliers say about its error: every answered query is one mark."""
    figure, (axes,) = _figure(1, (7.5, 5))
    e = metric.errors(truth, estimate)
    found = e.estimate >= 0
    j = e.estimate[found]
    error_cm = np.maximum(e.error_m[found] * 100, _FLOOR_CM)
    axes.set_yscale('log')
    axes.yaxis.set_major_formatter(_plain)
    axes.axhline(metric.FALSE_M * 100, color=WRONG, ls='--', lw=1.2, label='wrong above')
    wrong = metric.false_accepts(estimate, e)[j]
    _mark(axes, inliers[j].astype(np.float64), error_cm, estimate.accepted[j], wrong)
    axes.set(xlabel='inliers', ylabel='position error (cm)')
    axes.set_xlim(left=0)
    _legend(figure, axes, columns=4)
    return figure


def inliers_over_time_figure(
    truth: Trajectory, estimate: Trajectory, inliers: NDArray[np.int64]
) -> Figure:
    """The inliers [M] of every answer over time; no pose is a tick at the top."""
    figure, (axes,) = _figure(1, (10, 3.6))
    e = metric.errors(truth, estimate)
    both = np.concatenate([truth.stamps_ns[:1], estimate.stamps_ns[:1]])
    start = both.min() if len(both) else 0
    wrong = metric.false_accepts(estimate, e)
    t = (estimate.stamps_ns - start) / 1e9
    _mark(axes, t, inliers.astype(np.float64), estimate.accepted, wrong)
    missing = (truth.stamps_ns[e.estimate < 0] - start) / 1e9
    _ticks(axes, missing)
    axes.set(xlabel='time since the first frame (s)', ylabel='inliers')
    axes.margins(y=0.12)
    axes.set_ylim(bottom=0)
    _legend(figure, axes, columns=4)
    return figure


def _mark(axes: Axes, x: Array, y: Array, accepted: Marks, wrong: Marks) -> None:
    """One mark an answer: full where accepted, hollow where not, a triangle where falsely."""
    good = accepted & ~wrong
    axes.plot(x[good], y[good], 'o', color=ESTIMATE, ms=4, mew=0, label='accepted')
    axes.plot(
        x[~accepted], y[~accepted], 'o', color=ESTIMATE, ms=5, mfc='none', label='not accepted'
    )
    axes.plot(x[wrong], y[wrong], '^', color=WRONG, ms=8, mec='white', label='false accept')


def _ticks(axes: Axes, x: Array) -> None:
    """A tick at the top for every query without a pose."""
    top = axes.get_xaxis_transform()  # x in data, y in parts of the axis
    style = {'color': NONE, 'ms': 12, 'mew': 1.5, 'transform': top, 'label': 'no pose'}
    axes.plot(x, np.full(len(x), 0.97), '|', **style)


def _look_at(axes: Axes, way: Array, answers: Array) -> None:
    """Show the way [N, 2] and what is near it; say how many answers lie outside."""
    if not len(way):
        return
    low, high = way.min(0), way.max(0)
    margin = max(2.0, 0.5 * float((high - low).max()))
    low, high = low - margin, high + margin
    near = ((answers >= low) & (answers <= high)).all(1)
    shown = np.vstack([way, answers[near]])
    low, high = shown.min(0), shown.max(0)
    middle, half = (low + high) / 2, 0.55 * max(float((high - low).max()), 1.0)
    axes.set_aspect('equal', adjustable='box')
    axes.set_xlim(middle[0] - half, middle[0] + half)
    axes.set_ylim(middle[1] - half, middle[1] + half)
    if not near.all():
        text = f'poses outside the picture: {(~near).sum()}'
        axes.annotate(text, (0.99, 0.01), xycoords='axes fraction', ha='right', fontsize=11)


def _figure(
    rows: int, size: tuple[float, float], columns: int = 1, sharex: bool = False
) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=size, layout='constrained')
    axes = list(np.ravel(figure.subplots(rows, columns, sharex=sharex, squeeze=False)))
    for a in axes:
        a.grid(color='0.9', lw=0.8)
        a.set_axisbelow(True)
        a.tick_params(labelsize=11)
        a.xaxis.label.set_size(12)
        a.yaxis.label.set_size(12)
        a.spines[['top', 'right']].set_visible(False)
    return figure, axes


def _legend(figure: Figure, axes: Axes, columns: int) -> None:
    """One legend above the plots, where it covers nothing, of the marks that are there."""
    lines = [a for a in axes.get_lines() if np.size(a.get_xdata())]
    lines = [a for a in lines if not str(a.get_label()).startswith('_')]
    style = {'loc': 'outside upper center', 'fontsize': 11, 'frameon': False}
    figure.legend(handles=lines, ncols=columns, columnspacing=1.5, handletextpad=0.4, **style)


def _plain(value: float, _: float) -> str:
    """A tick of a log axis: 0.1, 1, 10 instead of powers."""
    return f'{value:g}'


def _seconds(trajectory: Trajectory) -> Array:
    stamps_ns = trajectory.stamps_ns
    return (stamps_ns - stamps_ns[:1]) / 1e9


def _broken_at_gaps(trajectory: Trajectory, points: Array) -> Array:
    """``points`` with NaN where nothing was recorded for long, so that no line is drawn there."""
    dt = np.diff(trajectory.stamps_ns)
    gaps = np.flatnonzero(dt > 10 * np.median(dt)) if len(dt) else []
    return np.insert(points, np.asarray(gaps, int) + 1, np.nan, axis=0)
