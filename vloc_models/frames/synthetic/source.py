"""A drive through a world as frames: rendered once on both cores, then read from disk.

The cache holds, for each picture, the JPEG and the number of the rectangle behind each pixel;
depth and labels are recomputed from those exactly. It is keyed by the description and by this
package's code, so nothing stale is ever read.
"""

import hashlib
import json
import os
import threading
from collections import deque
from collections.abc import Callable, Container, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_models.errors import VlocError
from vloc_models.frames.cameras import CameraMount
from vloc_models.frames.synthetic.looks import LookName
from vloc_models.frames.synthetic.motion import DriveSpec, drive, odometry
from vloc_models.frames.synthetic.rays import camera_rays, depth_of, labels_of
from vloc_models.frames.synthetic.render import Renderer
from vloc_models.frames.synthetic.rigs import RIGS, Mount, RigName
from vloc_models.frames.synthetic.sensor import SensorSpec, expose, motion_blur
from vloc_models.frames.synthetic.surfaces import SurfaceTable
from vloc_models.frames.synthetic.world import WorldSpec, build_world
from vloc_models.geometry import se3
from vloc_models.records import Frame, Trajectory, View

Array = NDArray[np.float64]
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 95]


@dataclass(frozen=True)
class SyntheticSpec:
    """Everything that decides what a synthetic recording looks like."""

    world: WorldSpec = field(default_factory=WorldSpec)
    drive: DriveSpec = field(default_factory=DriveSpec)
    look: LookName = 'day'
    rig: RigName = 'mono'
    sensor: SensorSpec = field(default_factory=SensorSpec)


def default_cache() -> Path:
    """``$VLOC_CACHE``, or vloc's folder in the user's cache."""
    home = os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'
    return Path(os.environ.get('VLOC_CACHE') or Path(home) / 'vloc') / 'synthetic'


class SyntheticSource:
    """A synthetic recording, a ``FrameSource``; pictures are drawn when first asked for."""

    def __init__(
        self,
        spec: SyntheticSpec,
        cache_dir: Path | None = None,
        mounts: tuple[Mount, ...] | None = None,
    ) -> None:
        """Plan the drive.

        Args:
            spec: world, drive, light, sensor.
            cache_dir: where pictures are kept; ``default_cache()`` if None.
            mounts: any cameras, anywhere on the robot; None takes ``spec.rig``.
        """
        self.spec, self.mounts = spec, mounts or RIGS[spec.rig]
        self.notes: list[str] = []  # nothing is ever odd here
        text = json.dumps(asdict(spec), sort_keys=True) + _code_hash()
        text += repr([(m.camera, m.T_base_cam.tolist()) for m in self.mounts])
        key = hashlib.sha256(text.encode()).hexdigest()[:16]
        self.folder = (cache_dir or default_cache()) / key
        self._plan()

    def _plan(self) -> None:
        """Load the drive and the geometry, or work them out and keep them."""
        plan = self.folder / 'plan.npz'
        if not plan.is_file():
            world = build_world(self.spec.world)
            truth = drive(world.floor, self.spec.drive)
            odom = odometry(truth, self.spec.drive)
            s = world.surfaces
            _save(
                plan,
                lambda f: np.savez(
                    f,
                    stamps_ns=truth.stamps_ns,
                    T_map_base=truth.T_map_body,
                    T_odom_base=odom.T_map_body,
                    origin=s.origin,
                    a=s.a,
                    b=s.b,
                    normal=s.normal,
                    label=s.label,
                ),
            )
        with np.load(plan) as z:
            self.truth = Trajectory(z['stamps_ns'], z['T_map_base'])  # 50 Hz
            self._odometry = Trajectory(z['stamps_ns'], z['T_odom_base'])
            geometry = (z[k] for k in ('origin', 'a', 'b', 'normal', 'label'))
            self.surfaces = SurfaceTable(*geometry, materials=())
        step = max(1, round(50 / self.spec.drive.rate_hz))
        self._moments = range(0, len(self.truth), step)

    def __len__(self) -> int:
        return len(self._moments)

    @property
    def cameras(self) -> tuple[CameraMount, ...]:
        """The rig, in the order of each frame's views."""
        return tuple(
            CameraMount(f'camera_{i}', m.camera, m.T_base_cam, f'camera_{i}', 'exact', 'exact')
            for i, m in enumerate(self.mounts)
        )

    @property
    def poses_source(self) -> str:
        """Where the poses come from, in words."""
        return 'the synthetic world'

    @property
    def odom_source(self) -> str:
        """Where the odometry comes from, in words."""
        return 'the synthetic world, with drift'

    @property
    def span_ns(self) -> tuple[int, int]:
        """The first and the last frame's stamp."""
        stamps = self.truth.stamps_ns
        return int(stamps[0]), int(stamps[self._moments[-1]])

    def trajectory(self) -> Trajectory:
        """The true T_map_base of all frames."""
        chosen = list(self._moments)
        return Trajectory(self.truth.stamps_ns[chosen], self.truth.T_map_body[chosen])

    def odometry(self) -> Trajectory:
        """T_odom_base at 50 Hz."""
        return self._odometry

    def close(self) -> None:
        """Nothing is held open."""

    def frames(self, only: Container[int] | None = None) -> Iterator[Frame]:
        """Frames in time order; what is not in the cache is rendered on the way.

        Args:
            only: the stamps of those wanted [all].
        """
        workers = os.cpu_count() or 1
        stamps = self.truth.stamps_ns[list(self._moments)].tolist()
        wanted = [n for n, stamp in enumerate(stamps) if only is None or stamp in only]
        with ThreadPoolExecutor(workers) as pool:
            ahead = deque[Future[Frame]]()
            for index in wanted:
                ahead.append(pool.submit(self.frame, index))
                if len(ahead) > 2 * workers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()

    def frame(self, index: int) -> Frame:
        """One frame by its number."""
        moment = self._moments[index]
        T_map_base = self.truth.T_map_body[moment]
        views = []
        for number, mount in enumerate(self.mounts):
            name = self.folder / f'{index:06d}_{number}'
            picture, ids_file = name.with_suffix('.jpg'), name.with_suffix('.png')
            if not (picture.is_file() and ids_file.is_file()):
                self._render(moment, number, picture, ids_file)
            image = _load(picture, cv2.IMREAD_COLOR_RGB).astype(np.uint8, copy=False)
            ids = _load(ids_file, cv2.IMREAD_UNCHANGED).astype(np.int32) - 1
            T_map_cam = T_map_base @ mount.T_base_cam
            depth = depth_of(self.surfaces, ids, camera_rays(mount.camera), T_map_cam)
            labels = labels_of(self.surfaces, ids)
            views.append(View(image, mount.camera, mount.T_base_cam, depth, labels))
        stamp = int(self.truth.stamps_ns[moment])
        return Frame(stamp, tuple(views), self._odometry.T_map_body[moment], T_map_base)

    def _render(self, moment: int, number: int, picture: Path, ids_file: Path) -> None:
        mount, sensor = self.mounts[number], self.spec.sensor
        T_map_cam = self.truth.T_map_body[moment] @ mount.T_base_cam
        with _one_builds:
            renderer = _renderer(self.spec.world, self.spec.look)
        light, ids, depth = renderer.picture(mount.camera, T_map_cam)
        points_cam = camera_rays(mount.camera) * depth[..., None]
        twist = self._twist(moment, mount.T_base_cam)
        light = motion_blur(light, points_cam, mount.camera, twist, sensor.exposure_s)
        seeds = [13, self.spec.drive.seed, moment, number, self.spec.drive.kind == 'mapping']
        image = expose(light, sensor, moment * 0.02, np.random.default_rng(seeds))
        encoded = cv2.imencode('.jpg', image[..., ::-1], _JPEG)[1]
        _save(picture, lambda f: f.write(encoded.tobytes()))
        numbers = cv2.imencode(
            '.png', (ids + 1).astype(np.uint16), [cv2.IMWRITE_PNG_COMPRESSION, 1]
        )[1]
        _save(ids_file, lambda f: f.write(numbers.tobytes()))

    def _twist(self, moment: int, T_base_cam: Array) -> Array:
        """The camera's velocity [6] in its own frame."""
        after = min(moment + 1, len(self.truth) - 1)
        T = self.truth.T_map_body
        T0, T1 = T[after - 1] @ T_base_cam, T[after] @ T_base_cam
        return se3.log(se3.inverse(T0) @ T1) * 50


def _load(path: Path, flags: int) -> cv2.typing.MatLike:
    image = cv2.imread(str(path), flags)
    if image is None:
        raise VlocError(f'{path}: the cached picture is damaged', 'delete it')
    return image


def _save(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file whole or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f'.{path.name}.{os.getpid()}.{threading.get_ident()}')
        with temporary.open('wb') as f:
            write(f)
        temporary.replace(path)
    except OSError as e:
        raise VlocError(f'{path}: {e.strerror}', 'free some disk or set VLOC_CACHE') from e


_one_builds = threading.Lock()


@lru_cache(maxsize=2)  # a tenth of a gigabyte each
def _renderer(world: WorldSpec, look: LookName) -> Renderer:
    return Renderer(build_world(world), look)


@cache
def _code_hash() -> str:
    """Changes whenever the code that draws worlds does."""
    files = sorted(Path(__file__).parent.glob('*.py'))
    return hashlib.sha256(b''.join(f.read_bytes() for f in files)).hexdigest()
