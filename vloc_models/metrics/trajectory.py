"""How right a list of poses is: recall and medians over all queries, and false accepts.

Errors belong to the camera centre: give both trajectories as ``T_map_cam``, e.g. by
``Trajectory.moved(T_base_cam)``.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_models.checks import check_shape
from vloc_models.geometry import se3
from vloc_models.records import Array, Trajectory

THRESHOLDS = ((0.05, 5), (0.10, 5), (0.25, 5), (0.50, 10), (1.00, 10))  # metres, degrees
FALSE_M, FALSE_DEG = 0.5, 10.0  # an accepted pose further off than this is false
MAX_DT_NS = 10_000_000  # a third of the frame distance of a 30 Hz camera


@dataclass(frozen=True, eq=False)
class Errors:
    """The error of every query; infinite where it has no estimate."""

    error_m: Array  # [N]
    error_deg: Array  # [N]
    estimate: NDArray[np.int64]  # [N] index of its estimate, -1 where there is none


@dataclass(frozen=True)
class Score:
    """The figures of one evaluation. Medians and recalls count every query."""

    queries: int
    frames: int  # the queries, and the answered images that no true pose belongs to
    median_cm: float  # infinite if fewer than half of the queries have a pose
    median_deg: float
    recall: tuple[float, ...]  # shares of the queries strictly below THRESHOLDS
    answered: int  # queries with a pose, whatever its verdict
    answered_median_cm: float  # these over the answered queries only
    answered_mean_cm: float
    answered_max_cm: float
    accepted: int  # poses the localizer stands behind, on queries or not
    false_accepts: int  # of those: off by more than FALSE_M or FALSE_DEG, or without a true pose

    def as_json(self) -> dict[str, float | None]:
        """By name, shares added; null where there is no finite number."""
        recall = {
            f'recall_{round(m * 100)}cm_{deg}deg': share
            for (m, deg), share in zip(THRESHOLDS, self.recall, strict=True)
        }
        figures = {
            'queries': self.queries,
            'frames': self.frames,
            'median_cm': self.median_cm,
            'median_deg': self.median_deg,
            **recall,
            'answered': self.answered,
            'answered_share': _share(self.answered, self.queries),
            'answered_median_cm': self.answered_median_cm,
            'answered_mean_cm': self.answered_mean_cm,
            'answered_max_cm': self.answered_max_cm,
            'accepted': self.accepted,
            'accepted_share': _share(self.accepted, self.frames),
            'false_accepts': self.false_accepts,
            'false_accept_share': _share(self.false_accepts, self.accepted),
        }
        return {name: x if math.isfinite(x) else None for name, x in figures.items()}


def associate(
    truth: Trajectory, estimate: Trajectory, max_dt_ns: int = MAX_DT_NS
) -> NDArray[np.int64]:
    """Pair two trajectories by stamp: of all pairs at most ``max_dt_ns`` apart, the closest first.

    Every pose is used once at most (TUM RGB-D benchmark, ``associate.py``); of equally close
    pairs the earlier one wins.

    Returns:
        Indices [P, 2] into truth and estimate, rising.
    """
    first = np.searchsorted(estimate.stamps_ns, truth.stamps_ns - max_dt_ns, 'left')
    last = np.searchsorted(estimate.stamps_ns, truth.stamps_ns + max_dt_ns, 'right')
    i = np.repeat(np.arange(len(truth)), last - first)
    j = np.concatenate([np.arange(0), *map(np.arange, first, last)])
    dt = np.abs(truth.stamps_ns[i] - estimate.stamps_ns[j])
    free_i, free_j = np.ones(len(truth), bool), np.ones(len(estimate), bool)
    pairs = []
    for k in np.argsort(dt, kind='stable'):
        if free_i[i[k]] and free_j[j[k]]:
            free_i[i[k]] = free_j[j[k]] = False
            pairs.append((i[k], j[k]))
    return np.array(sorted(pairs), np.int64).reshape(-1, 2)


def pose_errors(T_true: Array, T_estimated: Array) -> tuple[Array, Array]:
    """Distance in metres and angle in degrees [N] between poses [N, 4, 4] of the same body.

    Raises:
        VlocError: if the shapes differ.
    """
    n = check_shape(T_true, 'N 4 4', 'T_true')['N']
    check_shape(T_estimated, 'N 4 4', 'T_estimated', N=n)
    error_m = np.linalg.norm(T_estimated[:, :3, 3] - T_true[:, :3, 3], axis=-1)
    R = np.swapaxes(T_true[:, :3, :3], -1, -2) @ T_estimated[:, :3, :3]
    return error_m, np.degrees(se3.angle_rad(R))


def errors(truth: Trajectory, estimate: Trajectory, max_dt_ns: int = MAX_DT_NS) -> Errors:
    """The error of every query; each pose of ``truth`` is one, at the stamp of its image."""
    error_m, error_deg = np.full(len(truth), np.inf), np.full(len(truth), np.inf)
    partner = np.full(len(truth), -1)
    i, j = associate(truth, estimate, max_dt_ns).T
    found = pose_errors(truth.T_map_body[i], estimate.T_map_body[j])
    error_m[i], error_deg[i] = (np.where(np.isnan(x), np.inf, x) for x in found)
    partner[i] = j
    return Errors(error_m, error_deg, partner)


def score(truth: Trajectory, estimate: Trajectory, max_dt_ns: int = MAX_DT_NS) -> Score:
    """Recall and medians over all queries, as the peer's ``score`` counts them.

    Args:
        truth: ``T_map_cam`` of every query image (sample a denser truth with ``Trajectory.at``).
        estimate: ``T_map_cam`` of the images that were answered, with their ``accepted`` marks;
            an accepted one that no true pose belongs to is false.
        max_dt_ns: how far apart the stamps of one image may be.
    """
    e = errors(truth, estimate, max_dt_ns)
    found = e.error_m[e.estimate >= 0] * 100
    near = [(e.error_m < m) & (e.error_deg < deg) for m, deg in THRESHOLDS]
    return Score(
        queries=len(truth),
        frames=len(truth) + len(estimate) - len(found),
        median_cm=_or_nan(np.median, e.error_m) * 100,
        median_deg=_or_nan(np.median, e.error_deg),
        recall=tuple(_share(int(n.sum()), len(truth)) for n in near),
        answered=len(found),
        answered_median_cm=_or_nan(np.median, found),
        answered_mean_cm=_or_nan(np.mean, found),
        answered_max_cm=_or_nan(np.max, found),
        accepted=int(estimate.accepted.sum()),
        false_accepts=int(false_accepts(estimate, e).sum()),
    )


def false_accepts(estimate: Trajectory, e: Errors) -> NDArray[np.bool_]:
    """Which estimates [M] were accepted though wrong, or though no true pose belongs to them."""
    right = np.zeros(len(estimate), bool)
    right[e.estimate[(e.error_m <= FALSE_M) & (e.error_deg <= FALSE_DEG)]] = True
    return estimate.accepted & ~right


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


def _or_nan(statistic, values: Array) -> float:  # noqa: ANN001 - a numpy reduction
    return float(statistic(values)) if len(values) else math.nan
