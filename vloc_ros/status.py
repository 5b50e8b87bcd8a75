"""What ~/status says of one frame. No ROS here."""

from vloc_models.records import Fix, State, Track, Verdict
from vloc_ros.solve import Solved


def level_of(fix: Fix, solved: Solved, track: Track) -> str:
    """How good it is: ok, warn or error; a pose that no track comes of is not all well."""
    if fix.verdict is Verdict.ACCEPTED:
        return 'warn' if track.state is State.LOST else 'ok'
    return 'error' if solved.answer is None else 'warn'


def values_of(fix: Fix, solved: Solved, track: Track, now_ns: int) -> dict[str, object]:
    """The figures of one frame; those of a pose are left empty where there is none."""
    found = fix.estimate
    sub_map = solved.job.localizer.info.submaps[0]
    return {
        'verdict': fix.verdict.value,
        'state': track.state.value,
        'track': track.reason,
        'inliers': found.inliers if found else 0,
        'inlier_ratio': f'{found.inlier_ratio:.3f}' if found else '',
        'coverage': f'{found.coverage:.2f}' if found else '',
        'reprojection_px': f'{found.reprojection_px:.2f}' if found else '',
        'solve_ms': f'{solved.took_ms:.1f}',
        'latency_ms': f'{(now_ns - fix.stamp_ns) / 1e6:.1f}',
        'sub_map': sub_map.name,
        'floor': sub_map.floor,
    }
