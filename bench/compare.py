"""Ours beside the classical localizer: the same pictures to both in turn, in one process.

    python bench/compare.py MAP_BAG QUERY_BAG --map MAP --peer sift_localizer.py --json out.json

The peer (SIFT, VLAD, RGB-D map, PoseLib) builds its map here; ours was made by ``vloc map``. Then
each query, as the jpeg of the bag, goes to both, and who is first alternates. Errors are counted
over all queries, at the camera centre; no pose is infinitely wrong. The time is of decoding and
locating. Map seconds: ours as the map tells, with reading the bag; the peer's without. Ratios are
ours / the peer's.

Where they are not named, ``$VLOC_DATA`` holds the bags and ``$VLOC_PEER`` is the peer.
"""

import importlib.util
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import cv2
import numpy as np
import tyro
from figures import Figures, compared, save, table
from rich.console import Console
from rich.text import Text

from vloc_models.commands.locate import check_outputs
from vloc_models.commands.progress import progress_bar
from vloc_models.errors import BagError, VlocError
from vloc_models.frames.bag import BagReader
from vloc_models.frames.cameras import CameraMount
from vloc_models.frames.decode import decode_image
from vloc_models.frames.options import BagOptions
from vloc_models.localize.localizer import Localizer, LocalizerConfig, Use
from vloc_models.maps import Map, open_map
from vloc_models.metrics import trajectory
from vloc_models.records import Array, Fix, Trajectory, Verdict, View

_REST_S = 0.02  # before each query: the threads of the other one stop spinning


class Wanted(NamedTuple):
    """What a user names, or the environment gives."""

    variable: str
    name: str  # in the folder that the variable tells; empty: the variable tells the path itself
    words: str


PEER = Wanted('VLOC_PEER', '', '--peer sift_localizer.py')
MAP_BAG = Wanted('VLOC_DATA', 'redkitchen_map', 'MAP_BAG')
QUERY_BAG = Wanted('VLOC_DATA', 'redkitchen_dev', 'QUERY_BAG')


@dataclass(frozen=True)
class Options:
    """What to compare."""

    map_bag: tyro.conf.Positional[Path | None] = None
    """The recording that the peer builds its map from, and ours was made from."""
    query_bag: tyro.conf.Positional[Path | None] = None
    """The recording that is located, with true poses."""
    map: Path | None = None
    """Our map, as "vloc map" made it."""
    peer: Path | None = None
    """The peer's script, sift_localizer.py."""
    json: Path | None = None
    """Where the figures go."""
    every: int = 1
    """Ask every n-th query."""
    map_every: int = 1
    """The peer maps every n-th picture (its map grows with them)."""
    use: Use = 'both'
    """Of ours: its head, its landmarks, or both."""
    threads: int = 0
    """Of OpenCV and of ONNX Runtime; 0: as many as each likes."""


class Ours:
    """From the jpeg to the answer, through the same functions as a live picture.

    Args:
        localizer: knows the map.
        mount: the camera, and where it sits on the robot.
        words: the format that the jpeg's CompressedImage tells.
    """

    def __init__(self, localizer: Localizer, mount: CameraMount, words: str) -> None:
        self._localizer, self._mount, self._words = localizer, mount, words

    def __call__(self, jpeg: Any) -> Fix:
        """What our localizer says to one picture."""
        image = decode_image(SimpleNamespace(format=self._words, data=jpeg))
        return self._localizer.locate([View(image, self._mount.camera, self._mount.T_base_cam)])

    def figures(self, fixes: Sequence[Fix], truths: Sequence[Array]) -> Figures:
        """How right answers are, where ``truths`` are the true T_map_cam."""
        T_base_cam = self._mount.T_base_cam
        found = [f.estimate.T_map_base @ T_base_cam if f.estimate else None for f in fixes]
        return score(found, truths, [f.verdict is Verdict.ACCEPTED for f in fixes])


@dataclass(frozen=True, eq=False)
class Recorded:
    """The pictures of a bag that have a true pose, as the peer reads them, by time."""

    bag: Path
    K: Array  # [3, 3]
    frames: Sequence[tuple[Any, Any, Array]]  # jpeg, depth in metres or None, T_map_cam

    @staticmethod
    def of(peer: ModuleType, bag: Path) -> 'Recorded':
        """All of a bag.

        Raises:
            BagError: if there are none.
        """
        K, frames = peer.read(bag)
        if not frames:
            raise BagError(f'{bag}: no picture with a true pose', 'name another recording')
        return Recorded(bag, K, frames)

    def only(self, numbers: Iterable[int]) -> 'Recorded':
        """Some of them."""
        return replace(self, frames=[self.frames[i] for i in numbers])

    def every(self, n: int) -> 'Recorded':
        """Every n-th of them."""
        return self.only(range(0, len(self.frames), n))

    @property
    def jpegs(self) -> list[Any]:
        """The pictures."""
        return [jpeg for jpeg, _, _ in self.frames]

    @property
    def truths(self) -> list[Array]:
        """T_map_cam of each."""
        return [T_map_cam for _, _, T_map_cam in self.frames]


@dataclass(frozen=True, eq=False)
class Answers:
    """What both said to the same queries, and the milliseconds that each answer took."""

    truths: list[Array]  # T_map_cam
    fixes: list[Fix]
    ours_ms: list[float]
    found: list[Array | None]  # T_map_cam of the peer
    peer_ms: list[float]

    @staticmethod
    def pooled(parts: Sequence['Answers']) -> 'Answers':
        """Of all parts, in their order."""
        names = [field.name for field in fields(Answers)]
        return Answers(*([x for part in parts for x in getattr(part, name)] for name in names))

    def figures(self, ours: Ours) -> tuple[Figures, Figures]:
        """Ours and the peer's."""
        of_ours = ours.figures(self.fixes, self.truths) | _speed(self.ours_ms)
        return of_ours, score(self.found, self.truths) | _speed(self.peer_ms)


def main(options: Options) -> None:
    """Compare and print."""
    peer_script, map_bag, query_bag, map_folder = _inputs(options)
    peer = load_peer(peer_script)
    if options.threads:
        cv2.setNumThreads(options.threads)
    site = open_map(map_folder)
    localizer = Localizer.of(site, LocalizerConfig(options.use, threads=options.threads))
    ours = Ours(localizer, *camera_of(query_bag, peer.COLOR))
    rival, map_of_peer = rival_of(peer, Recorded.of(peer, map_bag).every(options.map_every))
    queries = Recorded.of(peer, query_bag).every(options.every)
    of_ours, of_peer = ask_both(ours, rival, queries).figures(ours)
    threads: Figures = {'threads_opencv': cv2.getNumThreads()}
    more: Figures = {'threads_onnxruntime': options.threads or len(os.sched_getaffinity(0))}
    told = compared(of_ours | map_figures(site) | more | threads, of_peer | map_of_peer | threads)
    Console().print(table(told))
    save(told, options.json)


def run(bench: Callable[[], None]) -> int:
    """The exit code; what the user can put right becomes one line, and 2."""
    try:
        bench()
    except VlocError as e:
        Console(stderr=True, soft_wrap=True, highlight=False).print(Text(str(e)))
        return 2
    return 0


def load_peer(path: Path) -> ModuleType:
    """The peer's script as a module."""
    spec = importlib.util.spec_from_file_location('peer', path)
    if spec is None or spec.loader is None or not path.is_file():
        raise VlocError(f'{path}: no such script', 'name sift_localizer.py with --peer')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def named(given: Path | None, wanted: Wanted) -> Path:
    """What is named, or what the environment gives; it exists.

    Raises:
        VlocError: if not.
    """
    variable, name, words = wanted
    folder = os.environ.get(variable)
    path = given or (Path(folder) / name if folder else None)
    if path is None:
        raise VlocError(f'no {words} is named', f'name it, or set {variable}')
    if not path.exists():
        raise VlocError(f'{path}: no such {words}', f'name it, or set {variable}')
    return path


def named_map(given: Path | None, json_file: Path | None) -> Path:
    """Our map; the figures do not go into it, and can be written.

    Raises:
        VlocError: if not.
    """
    if given is None:
        raise VlocError('no --map of ours is named', 'name one that "vloc map" made of MAP_BAG')
    if json_file:
        check_outputs([json_file], given)
    return given


def camera_of(bag: Path, topic: str) -> tuple[CameraMount, str]:
    """The camera of a topic, and the format that its messages tell."""
    with BagReader(bag, BagOptions((topic,), poses='none', odom='none')) as reader:
        mount, recording = reader.cameras[0], reader.recording
        first = next(recording.messages([topic]))
        return mount, recording.decode(first.raw, recording.topics[topic].msgtype).format


def rival_of(peer: ModuleType, recorded: Recorded) -> tuple[Any, Figures]:
    """The peer with a map of what has depth, and the figures of that map.

    Raises:
        BagError: if nothing has depth.
    """
    frames = [frame for frame in recorded.frames if frame[1] is not None]
    if not frames:
        raise BagError(f'{recorded.bag}: no picture with depth and a pose', 'name another MAP_BAG')
    start = time.perf_counter()
    rival = peer.SiftLocalizer(recorded.K, frames)
    seconds = time.perf_counter() - start
    return rival, {'map_MB': rival.megabytes, 'map_seconds': seconds}


def map_figures(site: Map) -> Figures:
    """The size of our map, and how long it took."""
    seconds = site.info.provenance.self_test.get('map_seconds')
    return {'map_MB': site.size_bytes() / 2**20, 'map_seconds': seconds}


def ask_both(ours: Ours, rival: Any, queries: Recorded) -> Answers:
    """Ask ours and the peer in turn."""
    (fixes, ours_ms), (found, peer_ms) = ask_in_turn(
        (ours, lambda jpeg: rival.locate(jpeg, queries.K)[0]), queries.jpegs
    )
    return Answers(queries.truths, fixes, ours_ms, found, peer_ms)


def ask_in_turn(
    localizers: Sequence[Callable[[Any], Any]], jpegs: Sequence[Any]
) -> list[tuple[list[Any], list[float]]]:
    """The answers of each localizer, and their milliseconds.

    The first picture is shown to each once before, uncounted; the order changes every time.
    """
    for locate in localizers:
        locate(jpegs[0])
    answers: list[tuple[list[Any], list[float]]] = [([], []) for _ in localizers]
    turn = list(zip(localizers, answers, strict=True))
    with progress_bar(Console(stderr=True)) as progress:
        for jpeg in progress.track(jpegs, task_id=progress.add_task('asking both', note='')):
            for locate, (said, ms) in turn:
                time.sleep(_REST_S)
                start = time.perf_counter()
                answer = locate(jpeg)
                ms.append((time.perf_counter() - start) * 1e3)
                said.append(answer)
            turn.reverse()
    return answers


def score(
    found: Sequence[Array | None],
    truths: Sequence[Array],
    accepted: Sequence[bool] | None = None,
) -> Figures:
    """How right T_map_cam are; equals the peer's own ``score`` (a test sees to that).

    Args:
        found: one a query; None = no pose.
        truths: the true ones.
        accepted: whether the localizer stands behind its pose; None = it does not say.
    """
    answered = [i for i, T in enumerate(found) if T is not None]
    stamps = np.arange(len(truths)) * 10**9  # made up
    estimate = Trajectory.of(stamps[answered], [T for T in found if T is not None])
    if accepted is None:
        told = trajectory.score(Trajectory.of(stamps, truths), estimate).as_json()
        return {name: x for name, x in told.items() if 'accept' not in name}
    marks = np.array([accepted[i] for i in answered], bool)
    estimate = Trajectory(estimate.stamps_ns, estimate.T_map_body, marks)
    return trajectory.score(Trajectory.of(stamps, truths), estimate).as_json()


def _inputs(options: Options) -> tuple[Path, Path, Path, Path]:
    """The peer, both bags and our map; all are there, and the figures can be written."""
    peer = named(options.peer, PEER)
    map_bag, query_bag = named(options.map_bag, MAP_BAG), named(options.query_bag, QUERY_BAG)
    map_folder = named_map(options.map, options.json)
    if min(options.every, options.map_every) < 1 or options.threads < 0:
        raise VlocError('--every, --map-every or --threads makes no sense', 'give 1 or more')
    return peer, map_bag, query_bag, map_folder


def _speed(ms: Sequence[float]) -> Figures:
    return {
        'ms_per_query_median': float(np.median(ms)),
        'ms_per_query_p99': float(np.percentile(ms, 99)),
    }


if __name__ == '__main__':
    sys.exit(run(lambda: main(tyro.cli(Options, description=__doc__))))
