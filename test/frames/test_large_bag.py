"""Large bags are read in bounded memory; measured in a process of its own."""

import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vloc_models.frames.bag import BagReader

READ = """
import json, resource, sys, time
from pathlib import Path
from vloc_models.frames.bag import BagReader
def rss():
    return int(Path('/proc/self/statm').read_text().split()[1]) * resource.getpagesize() / 2**20
before, frames = rss(), 0
start = time.perf_counter()
with BagReader(Path(sys.argv[1])) as reader:
    poses = len(reader.trajectory())
    indexed = rss()
    for frame in reader.frames():
        frames += 1
        assert frame.T_map_base is not None
        assert frame.T_odom_base is not None
status = Path('/proc/self/status').read_text()  # ru_maxrss would be the parent's
peak = int(status.split('VmHWM:')[1].split()[0]) / 2**10
seconds = time.perf_counter() - start
print(json.dumps(dict(before=before, indexed=indexed, peak=peak, frames=frames, poses=poses,
                      seconds=seconds)))
"""
RATE_NS = 1_000_000  # TF at 1 kHz


def read_apart(path: Path) -> dict[str, float]:
    command = [sys.executable, '-c', READ, str(path)]
    out = subprocess.run(command, capture_output=True, text=True, check=False)
    assert out.returncode == 0, out.stderr
    return json.loads(out.stdout.splitlines()[-1])


def many_transforms(kit: Any, n: int, storage: str) -> Path:
    """A bag of n odom->base_link transforms and a few images, the transforms patched bytes."""
    from rosbags.rosbag1 import Writer as Writer1
    from rosbags.rosbag2 import StoragePlugin, Writer

    ros1 = storage == 'ros1'
    b = kit.Builder(ros1)
    path = kit.folder / ('large.bag' if ros1 else 'large')
    if ros1:
        writer: Any = Writer1(path)
        serialize = b.store.serialize_ros1
    else:
        plugin = StoragePlugin.MCAP if storage == 'mcap' else StoragePlugin.SQLITE3
        writer = Writer(path, version=8, storage_plugin=plugin)
        serialize = b.store.serialize_cdr
    with writer:
        kind, topics = 'tf2_msgs/msg/TFMessage', {}

        def send(topic: str, stamp: int, body: Any) -> None:
            if topic not in topics:
                topics[topic] = writer.add_connection(topic, body.__msgtype__, typestore=b.store)
            writer.write(topics[topic], stamp, bytes(serialize(body, body.__msgtype__)))

        send('/tf_static', kit.START, b.tf(b.edge(kit.START, 'base_link', 'camera')))
        send('/tf_static', kit.START, b.tf(b.edge(kit.START, 'map', 'odom')))
        body = b.tf(b.edge(0x0102_0304 * 10**9 + 0x0506_0708, 'odom', 'base_link'))
        template = bytearray(serialize(body, kind))
        at = template.index(struct.pack('<II', 0x0102_0304, 0x0506_0708))
        tf = topics['/tf'] = writer.add_connection('/tf', kind, typestore=b.store)
        for i in range(n):
            stamp = kit.START + i * RATE_NS
            struct.pack_into('<II', template, at, *divmod(stamp, 10**9))
            writer.write(tf, stamp, bytes(template))
            if i % (n // 20) == 0:
                send('/cam/camera_info', stamp, b.info(stamp))
                send('/cam/image_raw', stamp, b.image(stamp, kit.picture(i)))
    return path


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3', 'ros1'])
def test_fifty_thousand_messages(kit: Any, storage: str) -> None:
    found = read_apart(many_transforms(kit, 50_000, storage))
    assert (found['frames'], found['poses']) == (20, 20)
    assert found['peak'] - found['before'] < 60, found


@pytest.mark.slow
@pytest.mark.parametrize(('storage', 'limit'), [('mcap', 120), ('sqlite3', 120), ('ros1', 350)])
def test_a_million_messages(kit: Any, storage: str, limit: float) -> None:
    """64 MB are the transforms themselves; rosbag1's index is kept whole by the library."""
    found = read_apart(many_transforms(kit, 1_000_000, storage))
    assert (found['frames'], found['poses']) == (20, 20)
    assert found['peak'] - found['before'] < limit, found


def images(kit: Any, n: int, storage: str, compression: str = '') -> Path:
    rng, b = np.random.default_rng(0), kit.Builder()

    def messages() -> Any:
        for m in kit.without(kit.standard(n), '/cam/depth/image'):
            stamp = m.log_ns
            if m.topic == '/cam/image_raw':
                big = rng.integers(0, 256, (240, 320, 3), np.uint8)  # no codec shrinks it
                m.body = b.image(stamp, big)
            if m.topic == '/cam/camera_info':
                m.body = b.info(stamp, size=(320, 240))
            yield m

    return kit.write(messages(), storage=storage, compression=compression)


@pytest.mark.parametrize(
    ('storage', 'compression'), [('mcap', ''), ('mcap', 'storage'), ('sqlite3', '')]
)
def test_images_never_sit_in_memory(kit: Any, storage: str, compression: str) -> None:
    path = images(kit, 300, storage, compression)
    found = read_apart(path)
    assert found['frames'] == 300
    size = sum(f.stat().st_size for f in path.iterdir()) / 2**20
    assert size > 60
    assert found['peak'] - found['before'] < 45, found


def test_frames_come_one_at_a_time(kit: Any) -> None:
    with BagReader(images(kit, 30, 'mcap')) as reader:
        frames = reader.frames()
        first = next(frames)
        assert first.views[0].image.shape == (240, 320, 3)
        del frames  # a reader that stops early leaves nothing open
