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
import json
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import cv2
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vloc_models.commands.locate import check_outputs
from vloc_models.commands.progress import progress_bar
from vloc_models.errors import BagError, VlocError
from vloc_models.frames.bag import BagReader
from vloc_models.frames.cameras import CameraMount
from vloc_models.frames.decode import decode_image
from vloc_models.frames.options import BagOptions
from vloc_models.localize.localizer import Localizer, LocalizerConfig
from vloc_models.maps import open_map
from vloc_models.metrics import trajectory
from vloc_models.records import Array, Fix, Trajectory, Verdict, View

Figures = dict[str, float | None]
_ROWS = (  # key in the JSON, name in the table, format
    ('queries', 'queries', '{:.0f}'),
    ('recall_5cm_5deg', 'within 5 cm, 5 deg', '{:.1%}'),
    ('recall_10cm_5deg', 'within 10 cm, 5 deg', '{:.1%}'),
    ('recall_25cm_5deg', 'within 25 cm, 5 deg', '{:.1%}'),
    ('recall_50cm_10deg', 'within 50 cm, 10 deg', '{:.1%}'),
    ('median_cm', 'median, cm', '{:.2f}'),
    ('median_deg', 'median, deg', '{:.2f}'),
    ('accepted', 'accepted', '{:.0f}'),
    ('false_accepts', 'false accepts', '{:.0f}'),
    ('ms_per_query_median', 'ms per query, median', '{:.1f}'),
    ('ms_per_query_p99', 'ms per query, 99 %', '{:.1f}'),
    ('map_MB', 'map, MB (2^20 bytes)', '{:.2f}'),
    ('map_seconds', 'map, seconds', '{:.1f}'),
    ('threads_opencv', 'threads of OpenCV', '{:.0f}'),
    ('threads_onnxruntime', 'threads of ONNX Runtime', '{:.0f}'),
)
_ONLY_TOLD = ('accepted', 'false_accepts', 'threads_opencv', 'threads_onnxruntime')  # no ratio
_REST_S = 0.02  # before each query: the threads of the other one stop spinning


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


def main(options: Options) -> None:
    """Compare and print."""
    peer_script, map_bag, query_bag, map_folder = _inputs(options)
    peer = load_peer(peer_script)
    if options.threads:
        cv2.setNumThreads(options.threads)
    site = open_map(map_folder)
    localizer = Localizer.of(site, LocalizerConfig(threads=options.threads))
    ours = Ours(localizer, *_camera(query_bag, peer.COLOR))
    rival, map_seconds = _rival(peer, map_bag, options.map_every)
    K, queries = peer.read(query_bag)
    if not queries:
        raise BagError(f'{query_bag}: no picture with a true pose', 'name another QUERY_BAG')
    jpegs, _, truths = zip(*queries[:: options.every], strict=True)
    (fixes, ours_ms), (found, peer_ms) = ask_in_turn(
        (ours, lambda jpeg: rival.locate(jpeg, K)[0]), jpegs
    )
    threads: Figures = {'threads_opencv': cv2.getNumThreads()}
    of_ours: Figures = {
        'map_MB': site.size_bytes() / 2**20,
        'map_seconds': site.info.provenance.self_test.get('map_seconds'),
        'threads_onnxruntime': options.threads or len(os.sched_getaffinity(0)),
    }
    of_peer: Figures = {'map_MB': rival.megabytes, 'map_seconds': map_seconds}
    told = compared(
        ours.figures(fixes, truths) | _speed(ours_ms) | of_ours | threads,
        score(found, truths) | _speed(peer_ms) | of_peer | threads,
    )
    Console().print(table(told))
    if options.json:
        options.json.write_text(as_json(told), 'utf-8')


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


def compared(ours: Figures, peer: Figures) -> dict[str, Figures]:
    """All figures, with None for no finite number, and ours / the peer's."""
    ours, peer = _finite(ours), _finite(peer)
    ratio: Figures = {}
    for key in [key for key, _, _ in _ROWS if key not in _ONLY_TOLD]:
        a, b = ours.get(key), peer.get(key)
        ratio[key] = None if a is None or not b else a / b
    return {'ours': ours, 'peer': peer, 'ratio': ratio}


def table(told: dict[str, Figures]) -> Table:
    """What is printed; a dash for no number."""
    shown = Table('', 'ours', 'peer', 'ratio')
    for key, name, form in _ROWS:
        ours, peer, ratio = (told[column].get(key) for column in ('ours', 'peer', 'ratio'))
        cells = (ours, form), (peer, form), (ratio, '{:.2f}')
        shown.add_row(name, *('-' if x is None else f.format(x) for x, f in cells))
    return shown


def as_json(told: dict[str, Figures]) -> str:
    """Strict JSON: null for no number."""
    return json.dumps(told, indent=1, allow_nan=False) + '\n'


def _inputs(options: Options) -> tuple[Path, Path, Path, Path]:
    """The peer, both bags and our map; all are there, and the figures can be written."""
    peer = _named(options.peer, 'VLOC_PEER', '', '--peer sift_localizer.py')
    map_bag = _named(options.map_bag, 'VLOC_DATA', 'redkitchen_map', 'MAP_BAG')
    query_bag = _named(options.query_bag, 'VLOC_DATA', 'redkitchen_dev', 'QUERY_BAG')
    if options.map is None:
        raise VlocError('no --map of ours is named', 'name one that "vloc map" made of MAP_BAG')
    if min(options.every, options.map_every) < 1 or options.threads < 0:
        raise VlocError('--every, --map-every or --threads makes no sense', 'give 1 or more')
    if options.json:
        check_outputs([options.json], options.map)
    return peer, map_bag, query_bag, options.map


def _named(given: Path | None, variable: str, name: str, what: str) -> Path:
    """What is named, or what the environment gives; it exists."""
    folder = os.environ.get(variable)
    path = given or (Path(folder) / name if folder else None)
    if path is None:
        raise VlocError(f'no {what} is named', f'name it, or set {variable}')
    if not path.exists():
        raise VlocError(f'{path}: no such {what}', f'name it, or set {variable}')
    return path


def _camera(bag: Path, topic: str) -> tuple[CameraMount, str]:
    """The camera of a topic, and the format that its messages tell."""
    with BagReader(bag, BagOptions((topic,), poses='none', odom='none')) as reader:
        mount, recording = reader.cameras[0], reader.recording
        first = next(recording.messages([topic]))
        return mount, recording.decode(first.raw, recording.topics[topic].msgtype).format


def _rival(peer: ModuleType, bag: Path, every: int) -> tuple[Any, float]:
    """The peer with its map, and the seconds that took."""
    K, frames = peer.read(bag)
    frames = [frame for frame in frames if frame[1] is not None][::every]
    if not frames:
        raise BagError(f'{bag}: no picture with depth and a pose', 'name another MAP_BAG')
    start = time.perf_counter()
    rival = peer.SiftLocalizer(K, frames)
    return rival, time.perf_counter() - start


def _speed(ms: Sequence[float]) -> Figures:
    return {
        'ms_per_query_median': float(np.median(ms)),
        'ms_per_query_p99': float(np.percentile(ms, 99)),
    }


def _finite(figures: Figures) -> Figures:
    return {k: x if x is not None and math.isfinite(x) else None for k, x in figures.items()}


if __name__ == '__main__':
    sys.exit(run(lambda: main(tyro.cli(Options, description=__doc__))))
