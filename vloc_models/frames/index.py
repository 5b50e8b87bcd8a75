"""The first pass over a bag: all small messages, and of the images only their stamps.

What stays in memory is 16 bytes an image and 64 bytes a pose or transform.
"""

import logging
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from vloc_models.errors import BagError
from vloc_models.frames.decode import is_compressed
from vloc_models.frames.recording import RawMessage, Recording
from vloc_models.frames.transforms import Samples, TransformTree

log = logging.getLogger(__name__)
_IMAGE = {'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'}
_INFO = {'sensor_msgs/msg/CameraInfo'}
_TF = {'tf2_msgs/msg/TFMessage', 'tf/msg/tfMessage'}
_POSE = {
    'nav_msgs/msg/Odometry',
    'geometry_msgs/msg/PoseStamped',
    'geometry_msgs/msg/PoseWithCovarianceStamped',
    'geometry_msgs/msg/TransformStamped',
}
_HEAD = 12  # bytes that differ between equal messages: the kind or number, and the stamp


@dataclass
class ImageTopic:
    """What is known of an image topic without decoding its pictures."""

    name: str
    msgtype: str
    frame_id: str
    encoding: str  # of an Image, or the format of a CompressedImage
    stamps: 'array[int]' = field(default_factory=lambda: array('q'))  # ns, in log order
    logged: 'array[int]' = field(default_factory=lambda: array('q'))  # ns
    unstamped: int = 0  # messages whose stamp was 0; they have their log time


@dataclass
class PoseTopic:
    """A topic of poses, of any of four types."""

    name: str
    msgtype: str
    frame_id: str  # the frame the poses are told in
    child_frame_id: str  # the frame that moves, '' where the type does not say
    samples: Samples
    faults: dict[str, int] = field(default_factory=dict)


@dataclass
class TopicTimes:
    """When a topic's messages were recorded."""

    count: int = 0
    first_ns: int = 0
    last_ns: int = 0
    longest_gap_ns: int = 0

    def add(self, log_ns: int) -> None:
        """Count one message."""
        if self.count:
            self.longest_gap_ns = max(self.longest_gap_ns, log_ns - self.last_ns)
        else:
            self.first_ns = log_ns
        self.last_ns = log_ns
        self.count += 1

    @property
    def rate_hz(self) -> float:
        """Messages a second, 0 for a single one."""
        span = self.last_ns - self.first_ns
        return (self.count - 1) * 1e9 / span if span > 0 else 0.0


@dataclass
class Index:
    """What the first pass found."""

    tree: TransformTree = field(default_factory=TransformTree)
    images: dict[str, ImageTopic] = field(default_factory=dict)
    poses: dict[str, PoseTopic] = field(default_factory=dict)
    infos: dict[str, list[tuple[int, Any]]] = field(default_factory=dict)  # changes only
    times: dict[str, TopicTimes] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    broken: BagError | None = None  # where the file is damaged on the way


def make_index(recording: Recording, everything: bool = False) -> Index:
    """Read the small messages and the image stamps.

    Args:
        recording: the open bag.
        everything: count the messages of all other topics too (for ``vloc info``).

    Damage on the way ends the pass and is kept in ``broken``.
    """
    index, last_info = Index(), dict[str, bytes]()
    tf = _tf_topics(recording)
    kinds = {t.name: t.msgtype for t in recording.topics.values()}
    wanted = {name for name, kind in kinds.items() if name in tf or kind in _IMAGE | _INFO | _POSE}
    for message in _until_broken(recording, set(kinds) if everything else wanted, index):
        name, kind = message.topic, kinds[message.topic]
        index.times.setdefault(name, TopicTimes()).add(message.log_ns)
        if name not in wanted:
            continue
        try:
            if kind in _IMAGE:
                _add_image(index, recording, message, kind)
            elif kind in _INFO:
                _add_info(index, recording, message, kind, last_info)
            elif kind in _POSE:
                _add_pose(index, recording, message, kind)
            else:
                decoded = recording.decode(message.raw, kind)
                index.tree.add_message(decoded, static=name.endswith('tf_static'))
        except BagError as e:
            index.faults.append(f'{name}: {e.what}')
            if len(index.faults) > 100:
                index.broken = e
                break
    _note_losses(index, recording)
    return index


def _until_broken(recording: Recording, topics: set[str], index: Index) -> Iterator[RawMessage]:
    try:
        yield from recording.messages(topics)
    except BagError as e:
        index.broken = e


def _tf_topics(recording: Recording) -> set[str]:
    """/tf and /tf_static, or where there are none those of a namespace."""
    found = {t.name for t in recording.topics.values() if t.msgtype in _TF}
    plain = found & {'/tf', '/tf_static', 'tf', 'tf_static'}
    return plain or {name for name in found if name.split('/')[-1] in ('tf', 'tf_static')}


def _add_image(index: Index, recording: Recording, message: RawMessage, kind: str) -> None:
    stamp, frame = recording.header(message.raw)
    topic = index.images.get(message.topic)
    if topic is None:
        first = recording.decode(message.raw, kind)
        words = first.format if is_compressed(first) else first.encoding
        topic = index.images[message.topic] = ImageTopic(message.topic, kind, frame, words)
    if stamp == 0:
        topic.unstamped += 1
        stamp = message.log_ns
    topic.stamps.append(stamp)
    topic.logged.append(message.log_ns)


def _add_info(
    index: Index, recording: Recording, message: RawMessage, kind: str, last: dict[str, bytes]
) -> None:
    body = bytes(message.raw[_HEAD:])
    if last.get(message.topic) == body:
        return
    last[message.topic] = body
    stamp, _ = recording.header(message.raw)
    info = recording.decode(message.raw, kind)
    index.infos.setdefault(message.topic, []).append((stamp or message.log_ns, info))


def _add_pose(index: Index, recording: Recording, message: RawMessage, kind: str) -> None:
    msg = recording.decode(message.raw, kind)
    topic = index.poses.get(message.topic)
    if topic is None:
        child = getattr(msg, 'child_frame_id', '').lstrip('/')
        frame = msg.header.frame_id.lstrip('/')
        samples = Samples(message.topic)
        topic = index.poses[message.topic] = PoseTopic(message.topic, kind, frame, child, samples)
    if hasattr(msg, 'transform'):
        p, q = msg.transform.translation, msg.transform.rotation
    else:
        pose = msg.pose.pose if hasattr(msg.pose, 'pose') else msg.pose
        p, q = pose.position, pose.orientation
    stamp = msg.header.stamp.sec * 10**9 + msg.header.stamp.nanosec
    if msg.header.frame_id.lstrip('/') != topic.frame_id:
        reason = f'the frame {msg.header.frame_id!r} where the first has {topic.frame_id!r}'
    else:
        xyz, xyzw = (p.x, p.y, p.z), (q.x, q.y, q.z, q.w)
        reason = topic.samples.add(stamp or message.log_ns, xyz, xyzw)
    if reason:
        topic.faults[reason] = topic.faults.get(reason, 0) + 1


def _note_losses(index: Index, recording: Recording) -> None:
    """Topics of which fewer messages came than the bag says it has."""
    for name, times in index.times.items():
        said = recording.topics[name].count
        if said > times.count and index.broken is None:
            index.faults.append(
                f'{name}: the bag says it has {said} messages, but {times.count} were found '
                f'(run "ros2 bag reindex {recording.path}")'
            )
