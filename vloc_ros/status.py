"""What ~/status says of one frame. No ROS here."""

import numpy as np

from vloc_models.geometry import se3
from vloc_models.records import Fix, PoseEstimate, State, Track, Verdict
from vloc_ros.camera_input import Picture
from vloc_ros.solve import Solved


def level_of(fix: Fix, solved: Solved, track: Track) -> str:
    """How good it is: ok, warn or error; a pose that no track comes of is not all well."""
    if fix.verdict is Verdict.ACCEPTED:
        return 'warn' if track.state is State.LOST else 'ok'
    return 'error' if solved.answer is None else 'warn'


def values_of(fix: Fix, solved: Solved, track: Track, now_ns: int) -> dict[str, object]:
    """The figures of one frame; those of a pose are left empty where there is none."""
    found = fix.estimate
    sub_map = solved.answer.submap if solved.answer and found else None
    return {
        **_of_rig(solved),
        'verdict': fix.verdict.value,
        'state': track.state.value,
        'track': track.reason,
        'inliers': found.inliers if found else 0,
        'inlier_ratio': f'{found.inlier_ratio:.3f}' if found else '',
        'coverage': f'{found.coverage:.2f}' if found else '',
        'reprojection_px': f'{found.reprojection_px:.2f}' if found else '',
        'solve_ms': f'{solved.took_ms:.1f}',
        'latency_ms': f'{(now_ns - fix.stamp_ns) / 1e6:.1f}',
        'sub_map': sub_map.name if sub_map else '',
        'floor': sub_map.floor if sub_map else '',
        **_guessed(fix.guess),
    }


def complaints(solved: Solved) -> dict[str, str]:
    """What a camera of a rig sees amiss, where the others found the pose; by part of the node."""
    if solved.answer is None or not solved.answer.accepted:
        return {}
    chance, told = solved.job.localizer.limits.chance_inlier_ratio, {}
    for picture, ratio in _ratios(solved):
        if ratio is None:
            told[picture.part] = (
                f'{picture.topic}: sees nothing of what is around; is it dark, covered or broken, '
                'or does it look where nothing was mapped?'
            )
        elif ratio < chance:
            told[picture.part] = (
                f'{picture.topic}: disagrees with the other cameras; was it moved? check its '
                'transform and its calibration'
            )
    return told


def _guessed(guess: PoseEstimate | None) -> dict[str, object]:
    """Where to look, in the map; told nowhere else, as nothing should drive by it."""
    if guess is None:
        return {}
    x, y, z = guess.T_map_base[:3, 3]
    yaw_deg = np.degrees(se3.to_rpy(guess.T_map_base)[2])
    sigma_m = np.sqrt(np.linalg.eigvalsh(guess.covariance[:3, :3])[-1])
    told = {'x_m': x, 'y_m': y, 'z_m': z, 'yaw_deg': yaw_deg, 'sigma_m': sigma_m}
    return {f'guess_{key}': f'{value:.2f}' for key, value in told.items()}


def _of_rig(solved: Solved) -> dict[str, object]:
    """The inlier ratio of each camera of a rig."""
    return {
        picture.part: 'sees nothing' if ratio is None else f'{ratio:.3f}'
        for picture, ratio in _ratios(solved)
    }


def _ratios(solved: Solved) -> list[tuple[Picture, float | None]]:
    """The inlier ratios of the cameras of a rig, where a pose was found."""
    estimate = solved.answer.estimate if solved.answer else None
    if estimate is None or len(solved.pictures) == 1:
        return []
    return list(zip(solved.pictures, estimate.by_camera, strict=True))
