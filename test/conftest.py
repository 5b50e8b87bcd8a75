"""For tests of several files: a small map to write and to damage, and one that is really built."""

import os
from collections.abc import Callable, Container, Iterator
from functools import cache, cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import settings
from hypothesis import strategies as st

from vloc_models import maps, npz
from vloc_models.frames.cameras import CameraMount
from vloc_models.geometry import se3
from vloc_models.geometry.camera import Camera
from vloc_models.maps import Map, MapInfo, MapWriter, open_map
from vloc_models.records import Array, Frame, Trajectory, View

# machines here are noisy: no example may fail for being slow, and CI always tries the same ones
settings.register_profile('vloc', deadline=None, derandomize='CI' in os.environ)
settings.load_profile('vloc')

ROWS = ((0.0, 0.0, 1.0, 0.1), (-1.0, 0.0, 0.0, 0.0), (0.0, -1.0, 0.0, 0.5), (0.0, 0.0, 0.0, 1.0))
INFO = MapInfo(
    encoder=maps.Encoder('vloc-s', 'a' * 64, 'MIT', 480),
    cameras=(
        maps.MapCamera(
            'camera/color',
            Camera(640, 480, 520.1, 519.9, 321, 243, 'plumb_bob', (0.1, -0.2, 1e-4, 0, 0.05)),
            ROWS,
        ),
    ),
    submaps=(
        maps.SubMap(
            '00',
            (1.5, -2.0, 0.25),
            floor='ground',
            network='ace',
            head='submaps/00/head.onnx',
            landmarks='submaps/00/landmarks.npz',
        ),
    ),
    calibration=maps.Calibration(6.2, 0.55, 120, 4, (maps.ErrorAtInliers(0.5, 40, 1.5),)),
    index='index.npz',
    provenance=maps.Provenance(
        ('run1',), ('/camera',), '0.1.0', 'c0ffee', '2026-01-02T03:04:05Z', {'median_cm': None}
    ),
)


def contents(word: str) -> dict[str, bytes]:
    points = np.arange(12, dtype=np.float32).reshape(4, 3) + len(word)
    return {
        'submaps/00/head.onnx': f'graph {word}'.encode() * 50,
        'submaps/00/landmarks.npz': npz.pack({'points': points}),
        'index.npz': npz.pack({'desc': np.full((2, 5), len(word), np.uint8)}),
    }


SMALL = MapInfo(INFO.encoder, (), ())  # soon parsed


def write(path: Path, word: str = 'old', info: MapInfo = INFO) -> Map:
    with MapWriter(path) as writer:
        for name, data in contents(word).items():
            writer.add_bytes(name, data)
        return writer.finish(info)


def holds(path: Path, word: str) -> bool:
    site = open_map(path)
    return all(site.read_bytes(name) == data for name, data in contents(word).items())


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob('*') if p.is_file()}


def edit(site: Path, change: Callable[[dict], object]) -> None:
    """Edit map.yaml by hand."""
    data = yaml.safe_load((site / 'map.yaml').read_text())
    change(data)
    (site / 'map.yaml').write_text(yaml.safe_dump(data))


@st.composite
def mutated(draw: st.DrawFn, raw: bytes) -> bytes:
    """Some bytes changed, cut out or doubled."""
    data = bytearray(raw)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        size = draw(st.integers(0, 12))
        data[at : at + size] = draw(
            st.binary(max_size=12) | st.just(bytes(data[at : at + 2 * size]))
        )
    return bytes(data)


@pytest.fixture(scope='session')
def sites() -> Any:
    """The helpers above, for tests (pytest imports test files one by one)."""
    return SimpleNamespace(
        INFO=INFO, SMALL=SMALL, contents=contents, write=write, holds=holds, tree=tree, edit=edit
    )


@pytest.fixture(scope='session')
def damaged() -> Any:
    """Of bytes a hypothesis strategy of the same bytes with some changed."""
    return mutated


@pytest.fixture
def site(tmp_path: Path) -> Path:
    write(tmp_path / 'site')
    return tmp_path / 'site'


T_base_cam = se3.transform([[0, 0, 1], [-1, 0, 0], [0, -1, 0]], [0.1, 0, 0.5])
WALL_M, PX_PER_M = 3.0, 100.0  # where the wall stands (y in the map), how fine its picture is


@cache
def wall() -> Any:
    """The picture on the wall, RGB, from x = -6 m and z = 4 m on, right and down."""
    rng = np.random.default_rng(4)
    blots = sum(
        size * cv2.GaussianBlur(rng.standard_normal((800, 1200, 3), np.float32), (0, 0), size)
        for size in (2, 5, 12)
    )
    return (128 + 60 * np.asarray(blots) / np.std(blots)).clip(0, 255).astype(np.uint8)


class Gallery:
    """A FrameSource: a robot drives past a wall full of blots, looking at it. Soon drawn.

    Its pictures are of 320 x 240 pixels, with depth; ``change(k, frame)`` may alter each frame.
    """

    poses_source = odom_source = 'the gallery'

    def __init__(
        self,
        count: int = 44,
        mounts: tuple[Array, ...] = (T_base_cam,),
        change: Callable[[int, Frame], Frame] = lambda k, frame: frame,
    ) -> None:
        self.count, self.change, self.notes = count, change, []
        camera = Camera(320, 240, 250.0, 250.0, 159.5, 119.5)
        self.cameras = tuple(
            CameraMount(f'camera_{i}', camera, T, f'camera_{i}') for i, T in enumerate(mounts)
        )

    def T_map_base(self, k: int) -> Array:
        share = k / max(1, self.count - 1)
        yaw = np.pi / 2 + 0.15 * np.sin(7 * share)
        at = [3.2 * share - 1.6, 0.3 * np.sin(9 * share), 0.5 + 0.1 * np.sin(17 * share)]
        return se3.transform(se3.exp([0, 0, 0, 0, 0, yaw])[:3, :3], at)

    def view(self, k: int, mount: CameraMount) -> View:
        camera, T = mount.camera, self.T_map_base(k) @ mount.T_base_cam
        turn, at = T[:3, :3].T, T[:3, 3]
        on_wall = np.stack([turn[:, 0], turn[:, 2], turn @ ([0, WALL_M, 0] - at)], 1)  # of x, z, 1
        paint = np.array([[1 / PX_PER_M, 0, -6], [0, -1 / PX_PER_M, 4], [0, 0, 1]])
        size = camera.width, camera.height
        image = cv2.warpPerspective(wall(), camera.K @ on_wall @ paint, size)
        rays = camera.unproject(camera.pixel_grid()) @ T[:3, :3].T
        depth = ((WALL_M - at[1]) / rays[..., 1]).astype(np.float32)
        return View(np.asarray(image, np.uint8), camera, mount.T_base_cam, depth)

    @cached_property
    def drawn(self) -> list[Frame]:
        frames = []
        for k in range(self.count):
            views = tuple(self.view(k, mount) for mount in self.cameras)
            T = self.T_map_base(k)
            frames.append(self.change(k, Frame(10**18 + k * 200_000_000, views, T, T)))
        return frames

    @property
    def span_ns(self) -> tuple[int, int]:
        return self.drawn[0].stamp_ns, self.drawn[-1].stamp_ns

    def __len__(self) -> int:
        return self.count

    def frames(self, only: Container[int] | None = None) -> Iterator[Frame]:
        return (f for f in self.drawn if only is None or f.stamp_ns in only)

    def trajectory(self) -> Trajectory:
        known = [(f.stamp_ns, f.T_map_base) for f in self.drawn if f.T_map_base is not None]
        return Trajectory.of([s for s, _ in known], [T for _, T in known])

    def odometry(self) -> Trajectory:
        return self.trajectory()

    def close(self) -> None:
        pass


@pytest.fixture(scope='session')
def gallery() -> Gallery:
    """44 frames; ``type(gallery)`` makes others."""
    return Gallery()


@pytest.fixture(scope='session')
def tiny_config() -> Any:
    """Of a map that is made in seconds, and good for nothing."""
    from vloc_models.mapping.build_map import MappingConfig
    from vloc_models.mapping.held_out import HeldOutConfig
    from vloc_models.networks.ace import HeadConfig
    from vloc_models.training.ace import AceTraining, BufferConfig
    from vloc_models.training.loop import LoopConfig

    training = AceTraining(
        batch=512, head=HeadConfig(128, 32), loop=LoopConfig(50, checkpoint_s=0)
    )
    return MappingConfig(
        min_images=10,
        tested_share=0.6,
        buffer=BufferConfig(8000, 512),
        training=training,
        held_out=HeldOutConfig(3, 0.15, 0.02),
    )


@pytest.fixture(scope='session')
def tiny_site(tiny_config: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A map of the gallery with our own encoder, built once, not tested. Do not change it."""
    from vloc_models.mapping.build_map import build_map

    path = tmp_path_factory.mktemp('tiny') / 'site'
    build_map(Gallery(11), ['gallery'], path, tiny_config)
    return path


@pytest.fixture(scope='session')
def toy_encoder() -> Any:
    """An encoder that costs next to nothing, and that a map has to carry.

    It gives 16 channels and no sure, and wants pictures of 120 px on the shorter side.
    """
    import hashlib

    import torch
    from torch import nn

    from vloc_models.engines.onnx_engine import OnnxEngine
    from vloc_models.export.parity import encoder_probe
    from vloc_models.export.to_onnx import encoder_graph, round_to_half
    from vloc_models.mapping.encoder import ChosenEncoder

    module = nn.Sequential(nn.Conv2d(1, 16, 8, 8), nn.Tanh())
    rng = np.random.default_rng(0)
    weight = torch.from_numpy(rng.normal(0, 0.1, (16, 1, 8, 8)).astype(np.float32))
    module.load_state_dict({'0.weight': weight, '0.bias': torch.zeros(16)})
    round_to_half(module)
    graph, probe = encoder_graph(module), npz.pack(encoder_probe(module, rng))
    names = 'encoder.onnx', 'encoder.probe.npz'
    record = maps.Encoder('toy', hashlib.sha256(graph).hexdigest(), 'MIT', 120, *names)
    return ChosenEncoder(record, graph, probe, OnnxEngine(graph, 'toy', 1))


@pytest.fixture(scope='session')
def build_soon(toy_encoder: Any) -> Callable[[pytest.MonkeyPatch], None]:
    """Let maps be built with the toy encoder, of small pictures; export no head twice (2 s)."""
    from vloc_models.export.to_onnx import head_graph
    from vloc_models.mapping import build_map, heads
    from vloc_models.training.weights import save_weights

    known: dict[bytes, bytes] = {}

    def graph(head: Any) -> bytes:
        key = save_weights(head)
        if key not in known:
            known[key] = head_graph(head)
        return known[key]

    def install(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(build_map, 'choose_encoder', lambda choice: toy_encoder)
        patch.setattr(heads, 'head_graph', graph)

    return install


@pytest.fixture(scope='module')
def one_thread() -> Iterator[None]:
    """On a busy machine threads of torch that wait for each other take five times as long."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
