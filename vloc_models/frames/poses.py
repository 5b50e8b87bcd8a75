"""Where poses come from: TF, a pose topic, odometry, or a TUM file."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vloc_models.errors import BagError
from vloc_models.frames.index import Index, PoseTopic
from vloc_models.frames.options import BagOptions
from vloc_models.frames.transforms import TransformTree
from vloc_models.tum import read_tum

Array = NDArray[np.float64]
_TRUTH = ('ground_truth', 'groundtruth', 'gt', 'vicon', 'mocap', 'optitrack')
_CAMERA = ('camera', 'cam', 'optical')
_ORDERS = ('goal', 'target', 'setpoint', 'waypoint', 'initialpose', 'carrot', 'lookahead')
_PATIENCE = 10  # a correction map->odom may come this much more seldom than a motion
_ENOUGH = 0.5  # share of the images a source must cover to be taken before a later one
FIX_POSES = (
    'record /tf with map->base_link (run SLAM while recording), or a pose topic, or give a TUM '
    'file with --poses'
)
FIX_CLOCK = (
    'stamp images and poses by one clock: let the camera driver use the time of ROS, and set '
    'use_sim_time on all nodes or on none'
)


@dataclass(frozen=True)
class PoseSource:
    """Poses of the body in a fixed frame, at any stamp."""

    words: str  # what it is, for the user
    at: Callable[[int], Array]  # T_fixed_body at a stamp; raises BagError where there is none
    stamps: Callable[[], NDArray[np.int64]]  # the stamps at which it was measured
    drifts: bool = False  # odometry, not a map

    def share(self, stamps_ns: Sequence[int]) -> float:
        """The share of some stamps at which there is a pose."""
        return sum(self.get(s) is not None for s in stamps_ns) / max(len(stamps_ns), 1)

    def get(self, stamp_ns: int) -> Array | None:
        """The pose at a stamp, or None."""
        try:
            return self.at(stamp_ns)
        except BagError:
            return None


def choose_poses(
    index: Index, options: BagOptions, body: str, camera: str, stamps_ns: Sequence[int]
) -> PoseSource | None:
    """The source of T_map_base, by ``options.poses``; None for "none".

    Args:
        index: the first pass.
        options: what the user asked for.
        body: the frame of the body.
        camera: the first camera's frame.
        stamps_ns: image stamps to judge the sources by.

    Raises:
        BagError: if what was asked for is not there, or nothing was found.
    """
    wanted = options.poses
    if wanted == 'none':
        return None
    if wanted == 'tf':
        source = tf_source(index, options.map_frame, body, options)
        return _present(source, stamps_ns)
    if wanted in index.poses:
        return _topic_source(index, options, index.poses[wanted], body, camera)
    if wanted not in ('auto', 'truth'):
        return _tum_source(index, options, wanted, body)
    shares: list[tuple[float, PoseSource]] = []
    for source in pose_candidates(index, options, body, camera):
        if source.drifts and (wanted == 'truth' or any(share for share, _ in shares)):
            continue
        share = source.share(stamps_ns)
        if share >= _ENOUGH:
            return source
        shares.append((share, source))
    if not shares or max(s for s, _ in shares) == 0:
        tried = '; '.join(f'{s.words}: {_why(s, stamps_ns)}' for _, s in shares)
        tried = f' ({tried})' if tried else ''
        fix = FIX_CLOCK if any(_elsewhen(s, stamps_ns) for _, s in shares) else FIX_POSES
        raise BagError(f'no poses in {options.map_frame!r} at the image stamps{tried}', fix)
    return max(shares, key=lambda pair: pair[0])[1]


def pose_candidates(
    index: Index, options: BagOptions, body: str, camera: str
) -> Iterator[PoseSource]:
    """All sources of T_map_base that the bag may hold, the most trusted first."""
    topics = sorted(index.poses.values(), key=lambda t: t.name)
    topics = [t for t in topics if not _says(t.name, _ORDERS)]  # where to go, not where it is
    truths = [t for t in topics if _says(t.name, _TRUTH)]
    mapped = [t for t in topics if t.frame_id == options.map_frame and t not in truths]
    stamped = [t for t in mapped if not t.msgtype.endswith('Odometry')]
    rest = [t for t in topics if t.msgtype.endswith('Odometry') and t not in truths + mapped]
    tf = tf_source(index, options.map_frame, body, options)
    tf_known = {options.map_frame, body} <= index.tree.frames
    if options.poses != 'truth' and tf_known:
        yield tf
    for topic in [*truths, *stamped, *(t for t in mapped if t not in stamped)]:
        yield _topic_source(index, options, topic, body, camera)
    if options.poses == 'truth' and tf_known:
        yield tf
    for topic in rest:
        yield _topic_source(index, options, topic, body, camera, drifts=True)
    if {options.odom_frame, body} <= index.tree.frames:
        yield replace(tf_source(index, options.odom_frame, body, options), drifts=True)


def choose_odometry(
    index: Index, options: BagOptions, body: str, stamps_ns: Sequence[int]
) -> PoseSource | None:
    """The source of T_odom_base by ``options.odom``: a topic, then TF; None if there is none.

    Raises:
        BagError: if what was asked for by name is not there.
    """
    wanted = options.odom
    tf = tf_source(index, options.odom_frame, body, options)
    if wanted == 'none':
        return None
    if wanted == 'tf':
        return _present(tf, stamps_ns)
    if wanted != 'auto':
        if wanted not in index.poses:
            there = ', '.join(sorted(index.poses)) or 'none'
            raise BagError(f'no odometry on {wanted}; pose topics are {there}', 'name one of them')
        return _odometry_source(index, options, index.poses[wanted], body)
    topics = [t for t in index.poses.values() if t.msgtype.endswith('Odometry')]
    topics = [t for t in topics if t.frame_id != options.map_frame and not _says(t.name, _TRUTH)]
    topics.sort(key=lambda t: (t.frame_id != options.odom_frame, t.name))
    sources = [_odometry_source(index, options, t, body) for t in topics]
    shares = [(source.share(stamps_ns), source) for source in [*sources, tf]]
    best = max(shares, key=lambda pair: (pair[0] >= _ENOUGH) or pair[0] / 2)  # the first enough
    return best[1] if best[0] else None


def tf_source(index: Index, fixed: str, body: str, options: BagOptions) -> PoseSource:
    """The poses that TF holds.

    Where the odometry frame lies between, the transforms above it are corrections: they follow
    drift, not motion, so they may come seldom, or once and for all.
    """
    tree, gap, odom = index.tree, options.max_gap_ns, options.odom_frame
    words, stamps = f'TF {fixed}->{body}', partial(tree.stamps, fixed, body)
    if not tree.is_between(fixed, odom, body):
        return PoseSource(words, partial(tree.lookup, fixed, body, max_gap_ns=gap), stamps)
    correction, once = _correction(tree, fixed, odom, gap)
    words += f' ({fixed}->{odom} came once and is held)' if once else ''
    return PoseSource(words, lambda s: correction(s) @ tree.lookup(odom, body, s, gap), stamps)


def _correction(
    tree: TransformTree, fixed: str, odom: str, gap_ns: int
) -> tuple[Callable[[int], Array], bool]:
    """``T_fixed_odom`` at a stamp, and whether it was published only once."""
    stamps = tree.stamps(fixed, odom)
    if len(stamps) == 1:
        only = int(stamps[0])
        return lambda _: tree.lookup(fixed, odom, only, gap_ns), True
    return partial(tree.lookup, fixed, odom, max_gap_ns=_PATIENCE * gap_ns), False


def _topic_source(
    index: Index,
    options: BagOptions,
    topic: PoseTopic,
    body: str,
    camera: str,
    drifts: bool = False,
) -> PoseSource:
    """The poses of a topic, carried to the body and, where TF knows how, into the map."""
    tree, gap, parent, fixed = index.tree, options.max_gap_ns, topic.frame_id, options.map_frame
    held, why = options.pose_frame or topic.child_frame_id, 'the pose of '
    if not held:
        held = camera if _says(topic.name, _CAMERA) else body
        why = 'by its name the pose of ' if held != body else 'taken as the pose of '
    if held not in tree.frames and held != body:
        held, why = body, f'{held!r} is not in TF: taken as the pose of '
    words = f'{topic.name} ({topic.msgtype.split("/")[-1]}, {why}{held})'
    carry: Callable[[int], Array] | None = None
    if not drifts and parent and parent != fixed:
        if tree.is_connected(fixed, parent):
            seldom = parent == options.odom_frame
            carry = partial(tree.lookup, fixed, parent, max_gap_ns=gap)
            carry = _correction(tree, fixed, parent, gap)[0] if seldom else carry
        words += f', told in {parent!r}' + (' and moved by TF' if carry else ' as in the map')

    def at(stamp: int) -> Array:
        T = topic.samples.at(stamp, gap)
        if held != body:
            T = T @ tree.lookup(held, body, stamp, gap)
        return carry(stamp) @ T if carry else T

    return PoseSource(words, at, topic.samples.stamps, drifts)


def _odometry_source(index: Index, options: BagOptions, topic: PoseTopic, body: str) -> PoseSource:
    return _topic_source(index, options, topic, body, body, drifts=True)


def _tum_source(index: Index, options: BagOptions, wanted: str, body: str) -> PoseSource:
    path = Path(wanted)
    if not path.is_file():
        there = ', '.join(sorted(index.poses)) or 'none'
        raise BagError(
            f'--poses {wanted}: neither a pose topic nor a TUM file; pose topics are {there}',
            'name one of them, a file, or auto, truth, tf, none',
        )
    poses, held, gap = read_tum(path), options.pose_frame or body, options.max_gap_ns
    if not len(poses):
        raise BagError(f'{path}: no poses in it', 'write "stamp x y z qx qy qz qw" a line')

    def at(stamp: int) -> Array:
        T = poses.at(stamp, gap)
        if T is None:
            first, last = (poses.stamps_ns[[0, -1]] / 1e9).tolist()
            raise BagError(
                f'{path.name}: no pose at {stamp / 1e9:.2f} s; it has {len(poses)} from '
                f'{first:.2f} to {last:.2f} s',
                'check that its stamps are those of the images, in seconds',
            )
        return T if held == body else T @ index.tree.lookup(held, body, stamp, gap)

    return PoseSource(f'{path.name} (TUM, the pose of {held})', at, lambda: poses.stamps_ns)


def _says(name: str, words: Iterable[str]) -> bool:
    """Whether a topic name holds one of the words, as a part of its own or the start of one."""
    parts = name.lower().replace('-', '_').split('/')
    pieces = {piece for part in parts for piece in [part, *part.split('_')]}
    return any(
        piece == word or (len(word) > 3 and word in piece) for piece in pieces for word in words
    )


def _present(source: PoseSource, stamps_ns: Sequence[int]) -> PoseSource:
    """The source, if it has any pose; else its error says what is missing."""
    if not source.share(stamps_ns):
        source.at(stamps_ns[len(stamps_ns) // 2])
    return source


def _elsewhen(source: PoseSource, stamps_ns: Sequence[int]) -> bool:
    """Whether the poses ended before the images began, or began after they ended."""
    try:
        own = source.stamps()
    except BagError:
        return False
    return len(own) > 0 and bool(own[-1] < stamps_ns[0] or own[0] > stamps_ns[-1])


def _why(source: PoseSource, stamps_ns: Sequence[int]) -> str:
    try:
        source.at(stamps_ns[len(stamps_ns) // 2])
    except BagError as e:
        return e.what
    return 'too few'
