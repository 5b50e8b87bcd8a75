import numpy as np
import pytest
from scipy.spatial import KDTree

from vloc_models.errors import VlocError
from vloc_models.frames.synthetic.grid import clearance_m
from vloc_models.frames.synthetic.motion import DriveSpec, drive, odometry
from vloc_models.frames.synthetic.world import World
from vloc_models.geometry import se3


@pytest.mark.parametrize('kind', ['mapping', 'query'])
def test_a_drive_stays_on_free_floor_at_bounded_speed(world: World, kind: str) -> None:
    spec = DriveSpec(seed=4, kind=kind)  # type: ignore[arg-type]
    truth = drive(world.floor, spec)
    cells = [world.floor.cell(xy) for xy in truth.T_map_body[:, :2, 3]]
    assert all(world.floor.free[c] for c in cells)
    steps = se3.inverse(truth.T_map_body[:-1]) @ truth.T_map_body[1:]
    assert np.linalg.norm(steps[:, :2, 3], axis=1).max() / 0.02 <= spec.speed_m_s * 1.05
    yaw_rate = np.degrees(np.abs(np.arctan2(steps[:, 1, 0], steps[:, 0, 0]))) / 0.02
    assert yaw_rate.max() <= spec.turn_deg_s * 1.1
    np.testing.assert_allclose(np.linalg.det(truth.T_map_body[:, :3, :3]), 1, atol=1e-9)


def test_a_mapping_drive_visits_every_room_and_looks_around(world: World) -> None:
    truth = drive(world.floor, DriveSpec())
    rooms = {int(world.floor.room[world.floor.cell(xy)]) for xy in truth.T_map_body[:, :2, 3]}
    assert set(range(world.floor.room.max() + 1)) <= rooms
    yaw = np.unwrap(np.arctan2(truth.T_map_body[:, 1, 0], truth.T_map_body[:, 0, 0]))
    assert np.abs(np.diff(yaw)).sum() > 2 * np.pi * 4


def test_a_drive_that_reaches_everywhere_passes_by_every_place_to_stop_at(world: World) -> None:
    def furthest_m(spec: DriveSpec) -> float:
        roomy = world.floor.free & (clearance_m(world.floor.free) > 0.6)
        places = world.floor.position(np.argwhere(roomy))
        way = drive(world.floor, spec).T_map_body[:, :2, 3]
        return float(KDTree(way).query(places)[0].max())

    assert furthest_m(DriveSpec(reach_m=0.4)) < 0.45
    assert furthest_m(DriveSpec()) > 0.5


def test_two_seeds_drive_two_ways(world: World) -> None:
    a, b = (drive(world.floor, DriveSpec(seed=s)) for s in (0, 1))
    assert len(a) != len(b)


def test_odometry_drifts_as_told(world: World) -> None:
    spec = DriveSpec(kind='query', stops=4, odometry_drift=0.01, odometry_drift_deg_m=0.5)
    truth = drive(world.floor, spec)
    odom = odometry(truth, spec)
    np.testing.assert_allclose(odom.T_map_body[0], np.eye(4))
    assert odom.length_m() == pytest.approx(truth.length_m(), rel=0.02)
    start = se3.inverse(truth.T_map_body[0])
    end_error = se3.inverse(start @ truth.T_map_body[-1]) @ odom.T_map_body[-1]
    turn = np.degrees(se3.angle_rad(end_error[:3, :3]))
    assert 0.05 < turn / truth.length_m() < 2.0
    perfect = DriveSpec(kind='query', odometry_drift=0, odometry_drift_deg_m=0, wobble_deg=0)
    still = odometry(drive(world.floor, perfect), perfect)
    gone = se3.inverse(truth.T_map_body[:1]) @ drive(world.floor, perfect).T_map_body
    assert still.length_m() == pytest.approx(
        np.linalg.norm(np.diff(gone[:, :2, 3], axis=0), axis=1).sum(), rel=1e-3
    )


@pytest.mark.parametrize(
    'wrong', [{'rate_hz': 0}, {'speed_m_s': -1}, {'duration_s': -1}, {'reach_m': -1}]
)
def test_impossible_drives_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(VlocError, match='drive'):
        DriveSpec(**wrong)  # type: ignore[arg-type]
