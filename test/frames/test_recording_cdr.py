"""Messages of a recording as ROS 2 sends them, and when the first one was recorded."""

from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import pytest
from rosbags.typesys import Stores, get_typestore

from vloc_models.errors import BagError
from vloc_models.frames.recording import Recording

S = 10**9


def values(message: Any) -> Any:
    """All that a message says, whichever ROS it is of."""
    if is_dataclass(message):
        kept = [f.name for f in fields(message) if f.name not in ('seq', '__msgtype__')]
        return {name.lower(): values(getattr(message, name)) for name in kept}
    if isinstance(message, np.ndarray):
        return message.tolist()
    return [values(one) for one in message] if isinstance(message, list) else message


@pytest.mark.parametrize(('storage', 'version'), [('mcap', 8), ('mcap', 9), ('sqlite3', 8)])
def test_messages_of_ros_2_stay_as_they_are(kit: Any, storage: str, version: int) -> None:
    store, messages = get_typestore(Stores.ROS2_HUMBLE), kit.standard(2)
    with Recording(kit.write(messages, storage=storage, version=version)) as recording:
        for name, topic in recording.topics.items():
            sent = [recording.cdr(m.raw, topic.msgtype) for m in recording.messages([name])]
            bodies = [m.body for m in messages if m.topic == name]
            assert sent == [bytes(store.serialize_cdr(b, topic.msgtype)) for b in bodies]
            assert all(type(data) is bytes for data in sent)


@pytest.mark.parametrize('compression', ['', 'lz4'])
def test_messages_of_ros_1_become_those_of_ros_2(kit: Any, compression: str) -> None:
    store, messages = get_typestore(Stores.LATEST), kit.standard(2, ros1=True)
    with Recording(kit.write(messages, storage='ros1', compression=compression)) as recording:
        assert set(recording.topics) == {m.topic for m in messages}
        for name, topic in recording.topics.items():
            sent = [recording.cdr(m.raw, topic.msgtype) for m in recording.messages([name])]
            read = [store.deserialize_cdr(data, topic.msgtype) for data in sent]
            bodies = [m.body for m in messages if m.topic == name]
            assert [values(m) for m in read] == [values(b) for b in bodies]
            assert all(type(data) is bytes for data in sent)


@pytest.mark.parametrize(
    ('topic', 'size_at'), [('/cam/image_raw', 12), ('/cam/camera_info', 12), ('/tf', 0)]
)
def test_damaged_messages_of_ros_1_are_told(kit: Any, topic: str, size_at: int) -> None:
    with Recording(kit.write(kit.standard(1, ros1=True), storage='ros1')) as recording:
        kind = recording.topics[topic].msgtype
        raw = bytes(next(iter(recording.messages([topic]))).raw)
        lies = raw[:size_at] + b'\xff' * 4 + raw[size_at + 4 :]  # of a name, or a list
        for damaged in (b'', raw[:3], raw[: len(raw) // 2], raw[:-1], raw + b'\0', lies):
            with pytest.raises(BagError, match=r'a damaged message: .') as caught:
                recording.cdr(damaged, kind)
            assert '\n' not in str(caught.value)
            assert 'rosbag reindex' in caught.value.fix


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3', 'ros1'])
def test_a_recording_starts_with_its_first_message(kit: Any, storage: str) -> None:
    messages = kit.standard(3, ros1=storage == 'ros1')
    for m in messages:
        m.log_ns += 5 * S  # recorded later than taken
    with Recording(kit.write(messages, storage=storage)) as recording:
        assert recording.start_ns == kit.START + 5 * S
        first = next(iter(recording.messages(recording.topics)))
        assert first.log_ns == recording.start_ns


def test_of_several_files_the_earliest_counts(kit: Any) -> None:
    late = kit.standard(2)
    for m in late:
        m.log_ns += 60 * S
    folder = kit.folder / 'run'
    folder.mkdir()
    for name, messages in (('a', late), ('b', kit.standard(2))):
        (file,) = kit.write(messages, name).glob('*.mcap')
        file.rename(folder / file.name)
    with Recording(folder) as recording:
        assert recording.start_ns == kit.START


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_a_recording_without_messages_starts_at_zero(kit: Any, storage: str) -> None:
    with Recording(kit.write([], storage=storage)) as recording:
        assert recording.start_ns == 0
        assert recording.duration_s == 0
