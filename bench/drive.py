"""How good is the track, and what do blackouts, late and wrong fixes and kidnapping do to it?

    python bench/drive.py --json drive.json --plots plots
    python bench/drive.py --rendered

Simulated drives through a synthetic house, minutes each: fixes err as measured ones do
(bench/simulated.py), odometry drifts by 1 % and half a degree a metre. Everything comes when it
would on a robot: odometry at 50 Hz, fixes late, map -> odom asked for at 30 Hz, and a subscriber
that looks map -> base up at each stamp of odometry as it comes. ``--rendered`` adds a drive of two
minutes with rendered pictures, localized one after the other.

Compared with the fused pose: raw fixes (the last one, wrong or not) and odometry alone (from the
first fix on). Errors are of the position; "wrong" is off by more than half a metre while
localized, not counting the time in which a robot that was carried away has not seen anything yet.
"""

import sys
import tempfile
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tyro
from compare import run
from figures import Figures, save
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from simulated import Drive, Played, Scenario, simulate

from vloc_models.commands.progress import progress_bar
from vloc_models.frames.synthetic import DriveSpec, SyntheticSource, SyntheticSpec, WorldSpec
from vloc_models.frames.synthetic.world import build_world
from vloc_models.geometry import se3
from vloc_models.localize.blend import Blend, BlendConfig
from vloc_models.localize.localizer import Localizer
from vloc_models.localize.tracker import Tracker, TrackerConfig
from vloc_models.mapping.build_map import MappingConfig, build_map
from vloc_models.records import Array, Fix, State, Verdict
from vloc_models.solvers.fusion import difference

TF_HZ, TOLERANCE_S = 30.0, 0.2
_ODOMETRY_LATE_NS = 5_000_000
_WRONG_M = 0.5
_LATE_NS = 300_000_000  # fixes of rendered pictures
_SCENARIOS = {
    'nothing odd': Scenario(),
    'odometry drifts 3 times as much': Scenario(drift=3.0),
    '30 s of each 60 dark': Scenario(dark_s=30.0),
    'fixes 300 ms late, out of order': Scenario(latency_s=0.3, jitter_s=0.25),
    '20 % of fixes wrong': Scenario(wrong=0.2),
    'carried away every 50 s': Scenario(carried_every_s=50.0),
    'all of it': Scenario(0.2, 0.1, 0.3, 0.25, 20.0, 100.0, 2.0),
}
_ROWS = (  # key, name in the table, format
    ('minutes', 'minutes', '{:.0f}'),
    ('fused_median_cm', 'fused, median, cm', '{:.2f}'),
    ('fused_p99_cm', 'fused, 99 %, cm', '{:.1f}'),
    ('fixes_median_cm', 'fixes alone, median, cm', '{:.2f}'),
    ('fixes_p99_cm', 'fixes alone, 99 %, cm', '{:.1f}'),
    ('odometry_median_cm', 'odometry alone, median, cm', '{:.1f}'),
    ('nees', 'NEES (6)', '{:.1f}'),
    ('localized', 'localized', '{:.1%}'),
    ('wrong_while_localized', 'of that, wrong', '{:.2%}'),
    ('recovery_s', 'back after, s, the longest', '{:.1f}'),
    ('largest_step_cm', 'largest TF step, cm', '{:.1f}'),
    ('lookups', 'TF lookups', '{:.0f}'),
    ('extrapolations', 'of that, into the future', '{:.0f}'),
)


@dataclass(frozen=True)
class Options:
    """What is driven."""

    drives: int = 3
    """Simulated ones of each kind, of about three minutes."""
    rendered: bool = False
    """Also drive two minutes with rendered pictures."""
    world: int = 0
    """Seed of the house."""
    cache: Path | None = None
    """Where rendered pictures and the map are kept; without, they are removed."""
    json: Path | None = None
    """Where the figures go."""
    plots: Path | None = None
    """The folder where the plots go."""


@dataclass(eq=False)
class Log:
    """What was told at each moment."""

    stamps_ns: list[int] = field(default_factory=list)
    error_m: list[float] = field(default_factory=list)  # NaN: no pose was told
    nees: list[float] = field(default_factory=list)
    states: list[State] = field(default_factory=list)
    steps_m: list[float] = field(default_factory=list)  # of the robot, by TF, while localized
    fixes_m: list[float] = field(default_factory=list)  # error of the last fix
    odometry_m: list[float] = field(default_factory=list)
    lookups: int = 0
    extrapolations: int = 0


def follow(course: Drive) -> Log:
    """Drive the tracker as a node does."""
    tracker, blend, log = Tracker(TrackerConfig()), Blend(BlendConfig()), Log()
    events: list[tuple[int, int, int]] = [
        *((int(s) + _ODOMETRY_LATE_NS, 0, i) for i, s in enumerate(course.odometry.stamps_ns)),
        *((int(s), 1, i) for i, s in enumerate(course.arrival_ns)),
    ]
    end_ns = int(course.truth.stamps_ns[-1])
    ticks = np.arange(int(course.truth.stamps_ns[0]), end_ns, round(1e9 / TF_HZ))
    events += [(int(s), 2, 0) for s in ticks]
    told: tuple[int, Array] | None = None  # the newest map -> odom, and until when it holds
    last_fix, T_map_odom = None, None
    for now_ns, kind, index in sorted(events):
        if kind == 0:
            stamp, T = int(course.odometry.stamps_ns[index]), course.odometry.T_map_body[index]
            tracker.add_odometry(stamp, T[:3, 3].tolist(), se3.to_quat_xyzw(T).tolist())
            if told is not None:
                log.lookups += 1
                log.extrapolations += stamp > told[0]
        elif kind == 1:
            fix = course.fixes[index]
            tracker.add_fix(fix)
            last_fix = fix
            if T_map_odom is None and (T_odom := tracker.odometry(fix.stamp_ns)) is not None:
                assert fix.estimate is not None
                T_map_odom = fix.estimate.T_map_base @ se3.inverse(T_odom)
        else:
            told = _tick(now_ns, tracker, blend, course, log, told)
            _alone(now_ns, tracker, course, log, last_fix, T_map_odom)
    return log


def _tick(
    now_ns: int,
    tracker: Tracker,
    blend: Blend,
    course: Drive,
    log: Log,
    told: tuple[int, Array] | None,
) -> tuple[int, Array] | None:
    """Publish map -> odom; what was told, and until when it holds."""
    track, T_odom_base = tracker.track(now_ns), tracker.odometry(now_ns)
    log.stamps_ns.append(now_ns)
    log.states.append(track.state)
    newest_ns = tracker.newest_odometry_ns
    if track.T_map_odom is None or T_odom_base is None or newest_ns is None:
        blend.reset()
        log.error_m.append(np.nan)
        log.nees.append(np.nan)
        return None
    step = blend.follow(now_ns, track.T_map_odom, T_odom_base)
    true = course.truth.at(min(now_ns, newest_ns), 10**9)
    assert true is not None
    off = difference(step.T_map_odom @ T_odom_base, true)
    assert track.covariance is not None
    log.error_m.append(float(np.linalg.norm(off[:3])))
    log.nees.append(float(off @ np.linalg.solve(track.covariance, off)))
    if told is not None and track.state is State.LOCALIZED and log.states[-2] is State.LOCALIZED:
        jump = (step.T_map_odom - told[1]) @ T_odom_base
        log.steps_m.append(float(np.linalg.norm(jump[:3, 3])))
    return now_ns + round(TOLERANCE_S * 1e9), step.T_map_odom


def _alone(
    now_ns: int,
    tracker: Tracker,
    course: Drive,
    log: Log,
    last_fix: Fix | None,
    T_map_odom: Array | None,
) -> None:
    """The errors of the two rivals: the last fix as it is, and odometry from the first fix on."""
    true, T_odom = course.truth.at(now_ns, 10**9), tracker.odometry(now_ns)
    assert true is not None
    fix_m = odom_m = np.nan
    if last_fix is not None and last_fix.estimate is not None:
        fix_m = float(np.linalg.norm((last_fix.estimate.T_map_base - true)[:3, 3]))
    if T_map_odom is not None and T_odom is not None:
        odom_m = float(np.linalg.norm((T_map_odom @ T_odom - true)[:3, 3]))
    log.fixes_m.append(fix_m)
    log.odometry_m.append(odom_m)


def figures(logs: list[tuple[Drive, Log]]) -> Figures:
    """Of all drives of a kind."""
    error, nees, fixes, odom = (
        np.concatenate([np.array(getattr(log, name)) for _, log in logs])
        for name in ('error_m', 'nees', 'fixes_m', 'odometry_m')
    )
    localized = np.array([s is State.LOCALIZED for _, log in logs for s in log.states])
    localized &= ~np.concatenate([unseen(course, log) for course, log in logs])
    recovery = [s for course, log in logs for s in recoveries(course, log)]
    return {
        'minutes': len(error) / TF_HZ / 60,
        'fused_median_cm': _percentile(error, 50) * 100,
        'fused_p99_cm': _percentile(error, 99) * 100,
        'fixes_median_cm': _percentile(fixes, 50) * 100,
        'fixes_p99_cm': _percentile(fixes, 99) * 100,
        'odometry_median_cm': _percentile(odom, 50) * 100,
        'nees': float(np.nanmean(nees[localized])),
        'localized': float(localized.mean()),
        'wrong_while_localized': float((error[localized] > _WRONG_M).mean()),
        'recovery_s': max(recovery, default=None),
        'largest_step_cm': max((100 * s for _, log in logs for s in log.steps_m), default=None),
        'lookups': sum(log.lookups for _, log in logs),
        'extrapolations': sum(log.extrapolations for _, log in logs),
    }


def _percentile(errors: NDArray[np.float64], q: float) -> float:
    return float(np.percentile(errors[np.isfinite(errors)], q))


def recoveries(course: Drive, log: Log) -> list[float]:
    """How long after being carried away, and seen again, the robot is localized rightly."""
    stamps, error = np.array(log.stamps_ns), np.array(log.error_m)
    right = (error < _WRONG_M) & np.array([s is State.LOCALIZED for s in log.states])
    found = []
    for carried_ns in course.carried_ns:
        seen = [f.stamp_ns for f in course.fixes if f.stamp_ns > carried_ns]
        back = stamps[right & (stamps > carried_ns)]
        if seen:
            found.append((back[0] - seen[0]) / 1e9 if len(back) else np.inf)
    return found


def unseen(course: Drive, log: Log) -> NDArray[np.bool_]:
    """When [N] the robot was carried away, and nothing could tell it yet."""
    stamps, out = np.array(log.stamps_ns), np.zeros(len(log.stamps_ns), bool)
    for carried_ns in course.carried_ns:
        known = [a for f, a in zip(course.fixes, course.arrival_ns, strict=True)
                 if f.stamp_ns > carried_ns]  # fmt: skip
        out |= (stamps >= carried_ns) & (stamps <= min(known, default=stamps[-1]))
    return out


def plot(name: str, course: Drive, log: Log) -> Figure:
    """The errors over time, on a background of states."""
    figure = Figure((10, 4.5), layout='constrained')
    axes = figure.subplots()
    t = (np.array(log.stamps_ns) - log.stamps_ns[0]) / 1e9
    for values, colour, label, style in (
        (log.odometry_m, '#999999', 'odometry alone', ':'),
        (log.fixes_m, '#E69F00', 'fixes alone', '-'),
        (log.error_m, '#0072B2', 'fused', '-'),
    ):
        axes.semilogy(t, np.maximum(values, 1e-4), style, color=colour, label=label, lw=1.2)
    for state, colour in ((State.UNSURE, '#F0E442'), (State.LOST, '#D55E00')):
        where = np.array([s is state for s in log.states])
        axes.fill_between(
            t, 0, 1, where=where, color=colour, alpha=0.3, lw=0, label=state.value,
            transform=axes.get_xaxis_transform(),
        )  # fmt: skip
    axes.set(title=name, xlabel='s', ylabel='error of position, m', ylim=(1e-3, 20))
    axes.legend(loc='upper right', ncols=5, fontsize='small')
    return figure


def _located(source: SyntheticSource, localizer: Localizer) -> Iterator[Fix]:
    """What the node finds: it looks where odometry leads, but for every tenth picture."""
    tracker, waiting = Tracker(TrackerConfig()), deque[Fix]()
    odometry = Played(source.odometry(), tracker)
    for number, frame in enumerate(source.frames()):
        odometry.until(frame.stamp_ns)
        while waiting and waiting[0].stamp_ns + _LATE_NS <= frame.stamp_ns:
            tracker.add_fix(waiting.popleft())
        prior = None if number % 10 == 9 else tracker.prior(frame.stamp_ns)
        waiting.append(localizer.locate(frame.views, prior, frame.stamp_ns))
        yield waiting[-1]


def rendered(options: Options, folder: Path) -> Drive:
    """A query drive of about two minutes, every picture localized; 300 ms late."""
    world = WorldSpec(options.world)
    out = folder / f'map_{options.world}'
    if not out.exists():
        mapping = SyntheticSource(SyntheticSpec(world, DriveSpec()), folder)
        build_map(mapping, [out.name], out, MappingConfig(instant=True))
    spec = SyntheticSpec(world, DriveSpec(kind='query', stops=8, duration_s=120.0))
    source, localizer = SyntheticSource(spec, folder), Localizer.load(out)
    fixes = [fix for fix in _located(source, localizer) if fix.verdict is Verdict.ACCEPTED]
    arrival = np.array([fix.stamp_ns for fix in fixes], np.int64) + _LATE_NS
    return Drive(source.truth, source.odometry(), tuple(fixes), arrival, ())


def table(rows: dict[str, Figures]) -> Table:
    """A column for each figure."""
    shown = Table(box=None, pad_edge=False)
    shown.add_column('', no_wrap=True)
    for _, name, _ in _ROWS:
        shown.add_column(name, justify='right')
    for case, told in rows.items():
        cells = ((told[key], form) for key, _, form in _ROWS)
        shown.add_row(case, *('-' if x is None else form.format(x) for x, form in cells))
    return shown


def main(options: Options) -> None:
    """Drive, print, write."""
    floor, rows = build_world(WorldSpec(options.world)).floor, dict[str, Figures]()
    console = Console(stderr=True)
    with progress_bar(console) as progress, tempfile.TemporaryDirectory() as temporary:
        task = progress.add_task('driving', total=len(_SCENARIOS) * options.drives, note='')
        for name, scenario in _SCENARIOS.items():
            logs = []
            for seed in range(options.drives):
                course = simulate(floor, scenario, seed)
                logs.append((course, follow(course)))
                progress.advance(task)
            _keep(options, name, logs, rows)
        if options.rendered:
            course = rendered(options, options.cache or Path(temporary))
            _keep(options, 'rendered', [(course, follow(course))], rows)
    Console(width=250).print(table(rows))


def _keep(
    options: Options, name: str, logs: list[tuple[Drive, Log]], rows: dict[str, Figures]
) -> None:
    rows[name] = figures(logs)
    save(rows, options.json)
    if options.plots:
        options.plots.mkdir(parents=True, exist_ok=True)
        file = options.plots / f'{name.replace(" ", "_").replace("%", "percent")}.png'
        plot(name, *logs[0]).savefig(file, dpi=100)


if __name__ == '__main__':
    sys.exit(run(lambda: main(tyro.cli(Options, description=__doc__))))
