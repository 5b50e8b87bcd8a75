"""Some frames of a recording only."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vloc_models.frames.chosen import Chosen
from vloc_models.frames.source import Chain, FrameSource, open_source
from vloc_models.frames.write_bag import write_bag


@pytest.fixture(params=['bag', 'chain', 'moved chain', 'gallery'])
def source(request: pytest.FixtureRequest, gallery: Any, tmp_path: Path) -> Any:
    if request.param == 'gallery':
        return gallery
    write_bag(tmp_path / 'run', gallery.frames())
    bag = open_source(tmp_path / 'run')
    if request.param == 'bag':
        return bag
    return Chain([bag, open_source(tmp_path / 'run')] if 'moved' in request.param else [bag])


def test_frames_of_some_stamps(source: FrameSource) -> None:
    every = list(source.frames())
    wanted = {every[k].stamp_ns for k in (1, 2, len(every) - 1)}
    found = list(source.frames(wanted))
    assert [f.stamp_ns for f in found] == sorted(wanted)
    for frame, k in zip(found, (1, 2, len(every) - 1), strict=True):
        assert frame.T_map_base is not None
        np.testing.assert_array_equal(frame.T_map_base, every[k].T_map_base)
        np.testing.assert_array_equal(frame.views[0].image, every[k].views[0].image)
    assert not list(source.frames(set()))
    assert not list(source.frames({1}))


def test_a_part_is_a_recording_of_its_own(source: FrameSource) -> None:
    stamps = source.trajectory().stamps_ns[2:6]
    part = Chosen(source, stamps)
    assert len(part) == 4
    assert part.span_ns == (stamps[0], stamps[3])
    assert [f.stamp_ns for f in part.frames()] == stamps.tolist()
    assert [f.stamp_ns for f in part.frames({int(stamps[1]), 1})] == [stamps[1]]
    assert part.trajectory().stamps_ns.tolist() == stamps.tolist()
    assert [c.name for c in part.cameras] == [c.name for c in source.cameras]
