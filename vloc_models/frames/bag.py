"""A bag as Frames: opened when first asked, streamed in stamp order, never held in memory."""

import logging
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vloc_models.errors import BagError
from vloc_models.frames.cameras import CameraMount
from vloc_models.frames.index import Index, make_index
from vloc_models.frames.options import BagOptions
from vloc_models.frames.poses import PoseSource, choose_odometry, choose_poses
from vloc_models.frames.recording import Recording
from vloc_models.frames.rig import ViewTopics, choose_views
from vloc_models.frames.sync import Assembler, Moment, plan, rising
from vloc_models.frames.views import DamagedError, make_view
from vloc_models.records import Frame, Trajectory, View

log = logging.getLogger(__name__)
Array = NDArray[np.float64]
_PATIENCE = 10  # pictures in a row that may be damaged before we give up


class BagReader:
    """Frames of one bag. Nothing is read before it is asked for; all errors are BagError.

    Attributes:
        notes: what was found odd, one line each; complete after ``frames`` has ended. They are
            logged as warnings too.
    """

    def __init__(
        self,
        path: Path,
        options: BagOptions | None = None,
        relatives: Sequence['BagReader'] = (),
    ) -> None:
        """A reader of ``path``: the folder of a rosbag2, or a .mcap, .db3 or .bag file.

        Args:
            path: the bag.
            options: which topics, frames and poses.
            relatives: bags of the same robot, the closest first; their static transforms and
                camera_info hold here where this bag has none (parts of a split recording).
        """
        self.path, self.options, self.relatives = Path(path), options or BagOptions(), relatives
        self.notes: list[str] = []

    def __enter__(self) -> 'BagReader':
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the files."""
        if 'recording' in self.__dict__:
            self.recording.close()
            del self.__dict__['recording']

    @cached_property
    def recording(self) -> Recording:
        """The open file."""
        return Recording(self.path)

    @cached_property
    def own_index(self) -> Index:
        """The first pass over the small messages of this bag alone."""
        return make_index(self.recording)

    @cached_property
    def index(self) -> Index:
        """The first pass, and what the relatives know beyond it."""
        index = self.own_index
        if index.broken is not None:
            raise index.broken
        for relative in self.relatives:
            index.tree.inherit_static(relative.own_index.tree)
            for topic, changes in relative.own_index.infos.items():
                index.infos.setdefault(topic, changes[-1:])
        for fault in self.recording.notes + index.faults + index.tree.faults:
            self._note(fault)
        for topic in index.poses.values():
            for reason, count in topic.faults.items():
                self._note(f'{topic.name}: left out {count} poses with {reason}')
        return index

    @cached_property
    def views(self) -> list[ViewTopics]:
        """The topics of each camera."""
        views, notes = choose_views(self.index, self.options)
        for note in notes:
            self._note(note)
        frames = [v.frame_id for v in views]
        if len(set(frames)) < len(frames):
            self._note(f'cameras share a frame ({", ".join(frames)}): taken to be in one place')
        return views

    @cached_property
    def body(self) -> str:
        """The frame that poses are of: the base frame, or the first camera's where it is unknown.

        Raises:
            BagError: if TF knows the base frame, but not where the camera sits on it.
        """
        base, camera = self.options.base_frame, self.views[0].frame_id
        if not base or base not in self.index.tree.frames:
            self._note(f'{self._why_no_base()}: the camera itself ({camera}) is taken as the body')
            return camera
        return base

    @property
    def cameras(self) -> tuple[CameraMount, ...]:
        """The cameras with their calibration and place on the robot."""
        return self._cameras

    @cached_property
    def _cameras(self) -> tuple[CameraMount, ...]:
        first = self.moments[0].stamp_ns
        return tuple(
            CameraMount(
                v.image, v.cameras.at(first), self._first_mount(v), v.frame_id, v.depth, v.labels
            )
            for v in self.views
        )

    def _first_mount(self, view: ViewTopics) -> Array:
        """``T_base_cam`` at the first image at which it is known."""
        for stamp in self._samples():
            if (T_base_cam := self._moving_mount(view, stamp)) is not None:
                return T_base_cam
        return self._mount(view, self._samples()[0])  # says why not

    @cached_property
    def poses(self) -> PoseSource | None:
        """The source of T_map_base; None if none is wanted."""
        first = self.views[0].frame_id
        source = choose_poses(self.index, self.options, self.body, first, self._samples())
        if source is not None:
            log.info('%s: poses from %s', self.path, source.words)
            if source.drifts:
                self._note(f'poses come from {source.words}, which drifts: the map will be bent')
        return source

    @cached_property
    def odometry_source(self) -> PoseSource | None:
        """The source of T_odom_base; None if there is none."""
        source = choose_odometry(self.index, self.options, self.body, self._samples())
        log.info('%s: odometry from %s', self.path, source.words if source else 'nothing')
        return source

    @property
    def poses_source(self) -> str:
        """Where the poses in the map come from, in words."""
        return self.poses.words if self.poses else 'none'

    @property
    def odom_source(self) -> str:
        """Where odometry comes from, in words."""
        return self.odometry_source.words if self.odometry_source else 'none'

    @cached_property
    def moments(self) -> list[Moment]:
        """The stamps of all frames that will come, in order."""
        views = self.views
        images = [self._rising(v.image) for v in views]
        depths = [self._rising(v.depth) for v in views]
        labels = [self._rising(v.labels) for v in views]
        moments = plan(images, depths, labels, self.options.sync_ns)
        if not moments:
            raise BagError(f'{self.path}: no images', 'record the camera, or name its topic')
        for k, view in enumerate(views):
            self._note_missing(moments, k, view)
        start = moments[0].stamp_ns + round(self.options.start_s * 1e9)
        length = self.options.duration_s
        stop = start + round(length * 1e9) if length is not None else 1 << 63
        kept = [m for m in moments if start <= m.stamp_ns < stop][:: self.options.every]
        if not kept:
            span = (moments[-1].stamp_ns - moments[0].stamp_ns) / 1e9
            raise BagError(
                f'{self.path}: no images after {self.options.start_s:g} s of {span:.1f} s',
                'choose another --start-s and --duration-s',
            )
        return kept

    @property
    def span_ns(self) -> tuple[int, int]:
        """The stamps of the first and the last frame."""
        return self.moments[0].stamp_ns, self.moments[-1].stamp_ns

    def __len__(self) -> int:
        """The number of frames that will come (fewer if some are damaged)."""
        return len(self.moments)

    def frames(self, only: Container[int] | None = None) -> Iterator[Frame]:
        """The frames in rising stamps, decoded one at a time; those of some stamps, if given.

        Raises:
            BagError: if the bag is damaged, or no frame of it can be used.
        """
        moments = [m for m in self.moments if only is None or m.stamp_ns in only]
        poses, odometry = self.poses, self.odometry_source
        mounts, count, damaged = self._fixed_mounts, Counter[str](), 0
        for number, parts in self._messages(moments) if moments else ():
            stamp = moments[number].stamp_ns
            try:
                views = self._views_of(moments[number], parts, mounts, count)
            except DamagedError as e:
                damaged += 1
                if damaged == _PATIENCE or (damaged == number + 1 == len(moments)):
                    raise BagError(e.what, e.fix) from e
                self._note(f'one frame left out: {e.what}')
                continue
            damaged = 0
            if not views:
                continue
            T_map_base = poses.get(stamp) if poses else None
            T_odom_base = odometry.get(stamp) if odometry else None
            count['without a pose'] += poses is not None and T_map_base is None
            count['without odometry'] += odometry is not None and T_odom_base is None
            yield Frame(stamp, views, T_odom_base, T_map_base)
        for what, n in count.items():
            if n:
                self._note(f'{n} of {len(moments)} frames are {what}')

    def _views_of(
        self,
        moment: Moment,
        parts: dict[str, bytes],
        mounts: dict[str, Array],
        count: Counter[str],
    ) -> tuple[View, ...]:
        """The views of one moment: those that came, are whole, and whose mount is known.

        Raises:
            DamagedError: if pictures came, but none of them is whole.
        """
        views: list[View] = []
        damaged: DamagedError | None = None
        for topics, stamp in zip(self.views, moment.images, strict=True):
            if stamp is None or topics.image not in parts:
                continue
            T_base_cam = mounts.get(topics.image)
            if T_base_cam is None:  # it moves (a pan-tilt head), so it is looked up each time
                T_base_cam = self._moving_mount(topics, stamp)
            if T_base_cam is None:
                count[f'without {topics.image}, whose place on the robot is not known'] += 1
                continue
            view = self._view(topics, stamp, parts, T_base_cam, count)
            if isinstance(view, View):
                views.append(view)
            else:
                damaged = view
        if damaged is not None and not views:
            raise damaged
        if damaged is not None:  # a dead camera does not end the others
            count[f'without a view that is damaged ({damaged.what})'] += 1
        return tuple(views)

    def _view(
        self,
        topics: ViewTopics,
        stamp: int,
        parts: dict[str, bytes],
        T_base_cam: Array,
        count: Counter[str],
    ) -> View | DamagedError:
        try:
            return make_view(self.recording, topics, stamp, parts, T_base_cam, count)
        except DamagedError as e:
            return e

    def trajectory(self) -> Trajectory:
        """The poses T_map_base at the frames' stamps, where there is one; no image is decoded."""
        poses = self.poses
        stamps = [m.stamp_ns for m in self.moments] if poses else []
        found = [(s, T) for s in stamps if poses and (T := poses.get(s)) is not None]
        return Trajectory.of([s for s, _ in found], [T for _, T in found])

    def odometry(self) -> Trajectory:
        """Odometry T_odom_base at its own rate; empty without."""
        source = self.odometry_source
        stamps = source.stamps().tolist() if source else []
        found = [(s, T) for s in stamps if source and (T := source.get(s)) is not None]
        return Trajectory.of([s for s, _ in found], [T for _, T in found])

    def _note(self, text: str) -> None:
        if text not in self.notes and len(self.notes) < 1000:
            self.notes.append(text)
            log.warning('%s: %s', self.path, text)

    def _samples(self) -> list[int]:
        """Some stamps over the whole length, to judge the pose sources by."""
        return [m.stamp_ns for m in self.moments[:: max(len(self.moments) // 200, 1)]]

    def _why_no_base(self) -> str:
        base = self.options.base_frame
        return f'TF has no frame {base!r}' if base else 'no base frame is named'

    def _rising(self, name: str) -> NDArray[np.int64]:
        """The usable stamps of an image topic."""
        topic = self.index.images.get(name)
        if topic is None:
            return np.zeros(0, np.int64)
        stamps, duplicates, backward = rising(topic.stamps)
        if topic.unstamped:
            self._note(f'{name}: {topic.unstamped} images have no stamp; their log time is used')
        if duplicates:
            self._note(f'{name}: {duplicates} images with the stamp of another are left out')
        if backward:
            self._note(f'{name}: {backward} images whose stamps jump back are left out')
        return stamps

    def _note_missing(self, moments: Sequence[Moment], k: int, view: ViewTopics) -> None:
        images = sum(m.images[k] is not None for m in moments)
        if images < len(moments):
            self._note(f'{len(moments) - images} of {len(moments)} frames lack {view.image}')
        for name, stamps in (
            (view.depth, [m.depths[k] for m in moments]),
            (view.labels, [m.labels[k] for m in moments]),
        ):
            lacking = images - sum(s is not None for s in stamps)
            if name and lacking:
                self._note(
                    f'{name}: {lacking} of {images} images have none within '
                    f'{self.options.sync_s:g} s (--sync-s)'
                )

    def _messages(self, moments: Sequence[Moment]) -> Iterator[tuple[int, dict[str, bytes]]]:
        """The messages of each moment by topic, read in one go through the bag."""
        wanted: list[set[tuple[str, int]]] = []
        masks = [set(self._rising(v.valid).tolist()) for v in self.views]
        for m in moments:
            keys = set[tuple[str, int]]()
            for k, v in enumerate(self.views):
                pairs = ((v.image, m.images[k]), (v.depth, m.depths[k]), (v.labels, m.labels[k]))
                keys |= {(name, stamp) for name, stamp in pairs if stamp is not None}
                keys |= {(v.valid, s) for s in masks[k] & {m.depths[k]}}
            wanted.append(keys)
        topics = {name for keys in wanted for name, _ in keys}
        assembler = Assembler(wanted)
        start, stop = self._log_span(topics, moments)
        for message in self.recording.messages(topics, start, stop):
            stamp, _ = self.recording.header(message.raw)
            yield from assembler.add(message.topic, stamp or message.log_ns, message.raw)
        yield from assembler.flush()
        if assembler.given_up:
            self._note(f'{assembler.given_up} images came too late to be joined to a frame')

    def _log_span(self, topics: set[str], moments: Sequence[Moment]) -> tuple[int, int]:
        """The log times between which all wanted messages lie."""
        first = moments[0].stamp_ns - self.options.sync_ns
        last = moments[-1].stamp_ns + self.options.sync_ns
        logged = [t for name in topics for s, t in self._times(name) if first <= s <= last]
        return min(logged), max(logged) + 1

    def _times(self, name: str) -> Iterator[tuple[int, int]]:
        """(stamp, log time) of all images of a topic."""
        topic = self.index.images[name]
        return zip(topic.stamps, topic.logged, strict=True)

    def _mount(self, view: ViewTopics, stamp_ns: int) -> Array:
        """``T_base_cam`` of a camera."""
        if view.frame_id == self.body:
            return np.eye(4)
        tree, gap = self.index.tree, self.options.max_gap_ns
        try:
            return tree.lookup(self.body, view.frame_id, stamp_ns, gap)
        except BagError as e:
            raise BagError(
                f'where {view.image} sits on the robot is not known: {e.what}',
                'record /tf_static (in ROS 2 start the recorder after the robot), or give '
                '--base-frame "" to take the camera as the body',
            ) from e

    def _moving_mount(self, view: ViewTopics, stamp_ns: int) -> Array | None:
        try:
            return self._mount(view, stamp_ns)
        except BagError:
            return None

    @cached_property
    def _fixed_mounts(self) -> dict[str, Array]:
        tree, body = self.index.tree, self.body
        return {
            m.name: m.T_base_cam
            for m in self.cameras
            if m.frame_id == body or not len(tree.stamps(body, m.frame_id))
        }
