"""The TF tree: coordinate frames joined by transforms over time, as tf2 keeps them.

The same class serves a whole bag (64 bytes a transform) and, with a horizon, a live node.
"""

import math
import threading
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vloc_models.errors import BagError
from vloc_models.frames import interpolation
from vloc_models.geometry import se3

Array = NDArray[np.float64]
_FAR_M = 1e8  # UTM needs 1e7; flipped bits overflow
_FIX_GAP = 'record /tf without losses, raise --max-gap-s, or leave that part out'
_FIX_LOOP = 'let only one node publish each transform'
_LOOP = 'tf: loop '
_FIX_TREE = 'record /tf and /tf_static of the whole robot, or name other frames'


class Samples:
    """One transform over time, in rising stamps: an edge of the tree, or a pose topic.

    Out-of-order samples are sorted in; of two with one stamp the last holds.
    """

    def __init__(self, name: str, keep_ns: int | None = None) -> None:
        """``name`` is for messages, e.g. "tf odom->base"; older than ``keep_ns`` is dropped."""
        self.name, self.keep_ns = name, keep_ns
        self._stamps, self._values = array('q'), array('d')  # 7 values a stamp: t, quat_xyzw
        self._sorted = True

    def __len__(self) -> int:
        return len(self._stamps)

    def add(self, stamp_ns: int, t: Sequence[float], quat_xyzw: Sequence[float]) -> str:
        """Keep one sample; returns why not, in words, or '' (the quaternion is normalised)."""
        x, y, z, w = quat_xyzw
        norm = math.sqrt(x * x + y * y + z * z + w * w)
        if not math.isfinite(norm + t[0] + t[1] + t[2]):
            return 'NaN or infinity'
        if max(map(abs, t)) > _FAR_M:
            return f'a translation of {max(map(abs, t)):.1e} m'
        if abs(norm - 1) > 1e-2:
            return f'a quaternion of length {norm:.3g}'
        row = (t[0], t[1], t[2], x / norm, y / norm, z / norm, w / norm)
        last = self._stamps[-1] if self._stamps else None
        if last is not None and stamp_ns == last:
            self._values[-7:] = array('d', row)
            return ''
        if last is not None and stamp_ns < last:
            if self.keep_ns is not None and stamp_ns < last - self.keep_ns:
                return 'a stamp older than what is kept'
            self._sorted = False
        self._values.extend(row)
        self._stamps.append(stamp_ns)
        self._forget()
        return ''

    def stamps(self) -> NDArray[np.int64]:
        """All stamps, rising."""
        self._sort()
        return np.array(self._stamps, np.int64)

    @property
    def last_ns(self) -> int:
        """The newest stamp."""
        self._sort()
        return self._stamps[-1]

    def at(self, stamp_ns: int, max_gap_ns: int) -> Array:
        """The transform [4, 4] at a stamp: linear in translation, slerp in rotation, as tf2.

        Raises:
            BagError: before the first sample, after the last, or in a gap above ``max_gap_ns``.
        """
        self._sort()
        stamps, values = self._stamps, self._values
        i = bisect_left(stamps, stamp_ns)
        if i < len(stamps) and stamps[i] == stamp_ns:
            return interpolation.matrix(values[7 * i : 7 * i + 7])
        if not stamps:
            raise BagError(f'{self.name}: no samples', _FIX_GAP)
        if i == 0 or i == len(stamps):
            side = f'before the first at {_s(stamps[0])}' if i == 0 else _after(stamps[-1])
            raise BagError(f'{self.name}: nothing at {_s(stamp_ns)}, {side}', _FIX_GAP)
        before, after = stamps[i - 1], stamps[i]
        if after - before > max_gap_ns:
            raise BagError(
                f'{self.name}: nothing between {_s(before)} and {_s(after)}, a gap of '
                f'{(after - before) / 1e9:.2f} s where {max_gap_ns / 1e9:.2f} s is the limit',
                _FIX_GAP,
            )
        fraction = (stamp_ns - before) / (after - before)
        a, b = values[7 * i - 7 : 7 * i], values[7 * i : 7 * i + 7]
        return interpolation.matrix(
            [
                *interpolation.lerp(a[:3], b[:3], fraction),
                *interpolation.slerp(a[3:], b[3:], fraction),
            ]
        )

    def _sort(self) -> None:
        if self._sorted:
            return
        stamps = np.array(self._stamps, np.int64)
        order = np.argsort(stamps, kind='stable')
        rising = stamps[order]
        order = order[np.append(rising[1:] != rising[:-1], True)]  # the last of equal stamps
        self._values = array('d', np.array(self._values).reshape(-1, 7)[order].tobytes())
        self._stamps = array('q', stamps[order].tobytes())
        self._sorted = True

    def _forget(self) -> None:
        """Drop what is too old, in large bites."""
        if self.keep_ns is None or self._stamps[-1] - self._stamps[0] < 2 * self.keep_ns:
            return
        self._sort()
        cut = bisect_left(self._stamps, self._stamps[-1] - self.keep_ns)
        del self._stamps[:cut], self._values[: 7 * cut]


class _Edge:
    """How a frame hangs below its parent."""

    def __init__(self, parent: str, child: str, keep_ns: int | None) -> None:
        self.parent, self.name = parent, f'tf {parent}->{child}'
        self.static: Array | None = None
        self.samples = Samples(self.name, keep_ns)
        self.rivals: set[str] = set()  # other parents that were published

    def at(self, stamp_ns: int, max_gap_ns: int) -> Array:
        if self.rivals:
            parents = ' and '.join(sorted({self.parent, *self.rivals}))
            child = self.name.split('->')[1]
            raise BagError(
                f'tf: {child} has more than one parent: {parents}',
                'let only one node publish it, or use a pose topic (--poses)',
            )
        if len(self.samples) or self.static is None:
            return self.samples.at(stamp_ns, max_gap_ns)
        return self.static


class TransformTree:
    """Transforms between named frames at any time; safe to fill and ask from two threads."""

    def __init__(self, keep_ns: int | None = None) -> None:
        """``keep_ns``: forget transforms older than this (live use); None keeps all."""
        self._keep_ns = keep_ns
        self._edges: dict[str, _Edge] = {}  # by child
        self._paths: dict[tuple[str, str], tuple[list[_Edge], list[_Edge]]] = {}
        self._faults: dict[str, tuple[int, int]] = {}  # text -> how often, first stamp
        self._lock = threading.RLock()

    def add(self, parent: str, child: str, stamp_ns: int, T_parent_child: Array) -> None:
        """Keep a transform [4, 4] that held at a stamp."""
        t = T_parent_child[:3, 3].tolist()
        self.add_quat(parent, child, stamp_ns, t, se3.to_quat_xyzw(T_parent_child).tolist())

    def add_quat(
        self, parent: str, child: str, stamp_ns: int, t: Sequence[float], q: Sequence[float]
    ) -> None:
        """Keep a transform (metres, quat_xyzw) that held at a stamp; a bad one becomes a fault."""
        with self._lock:
            edge = self._edge(parent, child, stamp_ns)
            if edge is None:
                return
            if edge.static is not None and not len(edge.samples):
                self._note(f'{edge.name} is both static and moving; the moving one is used', 0)
                self._paths.clear()
            if reason := edge.samples.add(stamp_ns, t, q):
                self._note(f'{edge.name}: left out a transform with {reason}', stamp_ns)

    def add_static(self, parent: str, child: str, T_parent_child: Array) -> None:
        """Keep a transform [4, 4] that always holds."""
        t = T_parent_child[:3, 3].tolist()
        self.add_static_quat(parent, child, t, se3.to_quat_xyzw(T_parent_child).tolist())

    def add_static_quat(
        self, parent: str, child: str, t: Sequence[float], q: Sequence[float]
    ) -> None:
        """Keep a transform (metres, quat_xyzw) that always holds; a bad one becomes a fault."""
        with self._lock:
            one = Samples(f'tf {parent}->{child}')
            if reason := one.add(0, t, q):
                self._note(f'{one.name}: left out a static transform with {reason}', 0)
                return
            edge = self._edge(parent, child, 0)
            if edge is None:
                return
            T = one.at(0, 0)
            if edge.static is not None and not np.allclose(edge.static, T, atol=1e-6):
                self._note(f'{edge.name} is static but changed; the last one is used', 0)
            edge.static = T

    def add_message(self, msg: Any, static: bool = False) -> None:
        """Keep the transforms of a tf2_msgs/TFMessage (``static``: from /tf_static)."""
        for stamped in msg.transforms:
            stamp, p = stamped.header.stamp, stamped.transform.translation
            r = stamped.transform.rotation
            t, q = (p.x, p.y, p.z), (r.x, r.y, r.z, r.w)
            parent, child = stamped.header.frame_id, stamped.child_frame_id
            if static:
                self.add_static_quat(parent.lstrip('/'), child.lstrip('/'), t, q)
            else:
                nanosec = stamp.sec * 10**9 + stamp.nanosec
                self.add_quat(parent.lstrip('/'), child.lstrip('/'), nanosec, t, q)

    def inherit_static(self, other: 'TransformTree') -> None:
        """Take over the static transforms of frames that have no parent here."""
        for child, edge in other._edges.items():
            if edge.static is not None and child not in self._edges:
                self.add_static(edge.parent, child, edge.static)

    @property
    def frames(self) -> set[str]:
        """The names of all frames."""
        return set(self._edges) | {e.parent for e in self._edges.values()}

    @property
    def faults(self) -> list[str]:
        """What was wrong with the transforms, one line each."""
        with self._lock:
            lines = [
                text + (f' ({n} x, first at {_s(stamp)})' if stamp else '')
                for text, (n, stamp) in self._faults.items()
            ]
            for child, edge in self._edges.items():
                if edge.rivals:
                    parents = ', '.join(sorted({edge.parent, *edge.rivals}))
                    lines.append(f'tf: {child} has more than one parent: {parents}')
            loops = {self._chain(child)[1] for child in self._edges} - {''}
            return lines + sorted(loops)

    def lookup(self, target: str, source: str, stamp_ns: int, max_gap_ns: int) -> Array:
        """``T_target_source`` [4, 4] at a stamp, through any common ancestor.

        Raises:
            BagError: unknown frames, frames of two trees, a loop, a frame with two parents, a
                stamp outside of what was recorded or in a gap longer than ``max_gap_ns``.
        """
        with self._lock:
            from_target, from_source = self._path(target, source)
            T_common_source = np.eye(4)
            for edge in from_source:
                T_common_source = edge.at(stamp_ns, max_gap_ns) @ T_common_source
            if not from_target:
                return T_common_source
            T_common_target = np.eye(4)
            for edge in from_target:
                T_common_target = edge.at(stamp_ns, max_gap_ns) @ T_common_target
            return se3.inverse(T_common_target) @ T_common_source

    def stamps(self, target: str, source: str) -> NDArray[np.int64]:
        """The stamps of the most frequent transform between two frames; empty if all is static.

        Raises:
            BagError: if the frames are unknown or not connected.
        """
        with self._lock:
            edges = [e for path in self._path(target, source) for e in path]
            most = max((e.samples for e in edges), key=len, default=Samples(''))
            return most.stamps()

    def newest_ns(self, target: str, source: str) -> int | None:
        """The last stamp at which ``lookup`` can answer by now; None if all on the way is static.

        Raises:
            BagError: if the frames are unknown or not connected.
        """
        with self._lock:
            edges = [e for path in self._path(target, source) for e in path]
            return min((e.samples.last_ns for e in edges if len(e.samples)), default=None)

    def without_motion(self) -> 'TransformTree':
        """A new tree with the static transforms of this one, e.g. when the clock jumps back."""
        tree = TransformTree(self._keep_ns)
        with self._lock:
            tree.inherit_static(self)
        return tree

    def is_connected(self, target: str, source: str) -> bool:
        """Whether both frames are known and hang in one tree."""
        try:
            self.stamps(target, source)
        except BagError:
            return False
        return True

    def is_between(self, target: str, middle: str, source: str) -> bool:
        """Whether the way from one frame to another goes by a third one."""
        with self._lock:
            try:
                ways = self._path(target, middle), self._path(middle, source)
            except BagError:
                return False
            first, second = ({id(e) for edges in way for e in edges} for way in ways)
            return bool(first and second) and not first & second

    def _edge(self, parent: str, child: str, stamp_ns: int) -> _Edge | None:
        edge = self._edges.get(child)
        if edge is None:
            if not parent or not child or parent == child:
                self._note(f'tf: left out a transform {parent!r}->{child!r}', stamp_ns)
                return None
            self._paths.clear()
            edge = self._edges[child] = _Edge(parent, child, self._keep_ns)
        elif edge.parent != parent:
            edge.rivals.add(parent)
            return None
        return edge

    def _note(self, text: str, stamp_ns: int) -> None:
        n, first = self._faults.get(text, (0, stamp_ns))
        if n or len(self._faults) < 100:  # a hostile stream must not fill the memory
            self._faults[text] = n + 1, first

    def _chain(self, frame: str) -> tuple[list[str], str]:
        """The frames from ``frame`` up to its root, and the loop met on the way, in words."""
        chain = [frame]
        while edge := self._edges.get(chain[-1]):
            if edge.parent in chain:
                ring = chain[chain.index(edge.parent) :]
                names = ring[::-1]  # from parent to child
                names = names[names.index(min(names)) :] + names[: names.index(min(names))]
                return chain, _LOOP + ' -> '.join([*names, names[0]])
            chain.append(edge.parent)
        return chain, ''

    def _path(self, target: str, source: str) -> tuple[list[_Edge], list[_Edge]]:
        """The edges from each of the two frames up to their common ancestor."""
        found = self._paths.get((target, source))
        if found is not None:
            return found
        for frame in (target, source):
            if frame not in self.frames:
                known = ', '.join(sorted(self.frames)) or 'none'
                raise BagError(f'tf: no frame {frame!r}; known are {known}', _FIX_TREE)
        up_target, loop_target = self._chain(target)
        up_source, loop_source = self._chain(source)
        common = next((f for f in up_target if f in up_source), None)
        if common is None:
            if loop := loop_target or loop_source:
                raise BagError(loop, _FIX_LOOP)
            raise BagError(
                f'tf: {target!r} (below {up_target[-1]!r}) and {source!r} (below '
                f'{up_source[-1]!r}) are not connected',
                _FIX_TREE,
            )
        below_target = up_target[: up_target.index(common)]
        below_source = up_source[: up_source.index(common)]
        if any(f in _ring(loop_target) for f in below_target + below_source):
            raise BagError(loop_target, _FIX_LOOP)  # the two ways round contradict each other
        path = [self._edges[f] for f in below_target], [self._edges[f] for f in below_source]
        self._paths[target, source] = path
        return path


def _ring(loop: str) -> set[str]:
    """The frames of a loop that ``_chain`` put into words."""
    return set(loop.removeprefix(_LOOP).split(' -> ')) if loop else set()


def _s(stamp_ns: int) -> str:
    return f'{stamp_ns / 1e9:.2f} s'


def _after(stamp_ns: int) -> str:
    return f'after the last at {_s(stamp_ns)}'
