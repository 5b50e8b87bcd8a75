"""Ask a map for pictures it has not seen, the way a robot will."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from vloc_models.frames.keyframes import Keyframe
from vloc_models.localize.localizer import Localizer
from vloc_models.maps import open_map
from vloc_models.metrics.trajectory import score
from vloc_models.records import Trajectory, Verdict, View


def self_test(
    path: Path,
    queries: Sequence[Keyframe],
    report: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, float | None]:
    """The figures of ``metrics.Score`` for pictures that the map at ``path`` has not seen."""
    localizer = Localizer.of(open_map(path))
    found, poses, accepted = [], [], []
    for number, query in enumerate(queries):
        image = np.repeat(query.grey[..., None], 3, 2)
        fix = localizer.locate([View(image, query.camera, np.eye(4))])
        if fix.estimate is not None:
            found.append(number)
            poses.append(fix.estimate.T_map_base)
            accepted.append(fix.verdict is Verdict.ACCEPTED)
        report(number + 1, len(queries))
    one_s = 10**9  # made-up stamps: the pictures of a rig share theirs
    truth = Trajectory.of(np.arange(len(queries)) * one_s, [q.T_map_cam for q in queries])
    estimate = Trajectory.of([i * one_s for i in found], poses)
    estimate = Trajectory(estimate.stamps_ns, estimate.T_map_body, np.array(accepted, bool))
    return score(truth, estimate).as_json()


def in_words(figures: dict[str, float | None]) -> str:
    """What the self-test says about the map, for a person."""
    if not figures.get('queries'):
        return 'not tested: too few pictures to hold some out'
    near = figures.get('recall_10cm_5deg') or 0.0
    median = figures.get('median_cm')
    middle = 'most got no pose' if median is None else f'median {median:.1f} cm'
    grade = 'good' if near >= 0.9 else 'fair' if near >= 0.6 else 'POOR'
    return (
        f'{grade}: {near:.0%} of {figures["queries"]:.0f} held-out pictures within 10 cm and '
        f'5 deg, {middle}'
    )
