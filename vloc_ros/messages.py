"""Our records as ROS messages. Arrays go through constructors, which is fast; setters are not."""

from array import array
from collections.abc import Iterable, Mapping

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import (
    Point,
    Pose,
    PoseArray,
    PoseWithCovariance,
    PoseWithCovarianceStamped,
    Quaternion,
    Transform,
    TransformStamped,
    Twist,
    TwistWithCovariance,
    Vector3,
)
from nav_msgs.msg import Odometry
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, PointCloud2, PointField
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from vloc_models.geometry import se3
from vloc_models.records import Array, PoseEstimate
from vloc_ros.fused import Fused

_TWIST_SIGMA = np.array([0.1] * 6)  # odometry's own is not known to us
LEVELS = {
    'ok': DiagnosticStatus.OK,
    'warn': DiagnosticStatus.WARN,
    'error': DiagnosticStatus.ERROR,
}


def stamp_ns(time: Time) -> int:
    """A stamp in nanoseconds."""
    return time.sec * 10**9 + time.nanosec


def header(nanoseconds: int, frame_id: str) -> Header:
    """A header of a stamp and a frame; stamps before 1970 become 0."""
    sec, nanosec = divmod(max(nanoseconds, 0), 10**9)
    return Header(stamp=Time(sec=sec, nanosec=nanosec), frame_id=frame_id)


def pose(T_parent_child: Array) -> Pose:
    """A transform [4, 4] as a pose."""
    x, y, z = T_parent_child[:3, 3].tolist()
    return Pose(position=Point(x=x, y=y, z=z), orientation=_rotation(T_parent_child))


def pose_with_covariance(head: Header, estimate: PoseEstimate) -> PoseWithCovarianceStamped:
    """A solved pose with its full covariance; both orders are (x, y, z, rot_x, rot_y, rot_z)."""
    told = PoseWithCovariance(
        pose=pose(estimate.T_map_base), covariance=estimate.covariance.ravel()
    )
    return PoseWithCovarianceStamped(header=head, pose=told)


def odometry(head: Header, child: str, fused: Fused) -> Odometry:
    """The fused pose and the robot's motion."""
    told = PoseWithCovariance(pose=pose(fused.T_map_base), covariance=fused.covariance.ravel())
    vx, vy, vz, wx, wy, wz = fused.twist.tolist()
    linear, angular = Vector3(x=vx, y=vy, z=vz), Vector3(x=wx, y=wy, z=wz)
    spread = np.diag(_TWIST_SIGMA**2).ravel()
    motion = TwistWithCovariance(twist=Twist(linear=linear, angular=angular), covariance=spread)
    return Odometry(header=head, child_frame_id=child, pose=told, twist=motion)


def initial_pose(head: Header, estimate: PoseEstimate) -> PoseWithCovarianceStamped:
    """A pose as AMCL takes it: in the plane, with a diagonal covariance that is not too small."""
    diagonal = np.zeros(36)
    least = (0.05**2, 0.05**2, 0.03**2)  # metres, radians: AMCL spreads its particles by these
    diagonal[[0, 7, 35]] = np.maximum(np.diag(estimate.covariance)[[0, 1, 5]], least)
    told = PoseWithCovariance(pose=pose(se3.planar(estimate.T_map_base)), covariance=diagonal)
    return PoseWithCovarianceStamped(header=head, pose=told)


def pose_array(head: Header, candidates: Iterable[PoseEstimate]) -> PoseArray:
    """Several places that explain one image."""
    return PoseArray(header=head, poses=[pose(c.T_map_base) for c in candidates])


def transform(head: Header, child: str, T_parent_child: Array) -> TFMessage:
    """One transform, as TF has it."""
    x, y, z = T_parent_child[:3, 3].tolist()
    told = Transform(translation=Vector3(x=x, y=y, z=z), rotation=_rotation(T_parent_child))
    one = TransformStamped(header=head, child_frame_id=child, transform=told)
    return TFMessage(transforms=[one])


def status(name: str, level: str, words: str, values: Mapping[str, object]) -> DiagnosticStatus:
    """One line of diagnostics; ``level`` is ok, warn or error."""
    pairs = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
    return DiagnosticStatus(
        level=LEVELS[level], name=name, message=words, hardware_id='vloc', values=pairs
    )


def diagnostics(head: Header, statuses: list[DiagnosticStatus]) -> DiagnosticArray:
    """Several lines of diagnostics."""
    return DiagnosticArray(header=head, status=statuses)


def jpeg_image(head: Header, jpeg: bytes) -> CompressedImage:
    """A jpeg."""
    return CompressedImage(header=head, format='jpeg', data=array('B', jpeg))


def point_cloud(head: Header, points: NDArray[np.float32]) -> PointCloud2:
    """Points [N, 3] in the frame of the header."""
    fields = [
        PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
        for i, name in enumerate('xyz')
    ]
    return PointCloud2(
        header=head,
        height=1,
        width=len(points),
        fields=fields,
        is_bigendian=False,
        point_step=12,
        row_step=12 * len(points),
        data=array('B', np.ascontiguousarray(points, '<f4').tobytes()),
        is_dense=True,
    )


def _rotation(T: Array) -> Quaternion:
    x, y, z, w = se3.to_quat_xyzw(T).tolist()
    return Quaternion(x=x, y=y, z=z, w=w)
