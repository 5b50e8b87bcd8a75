"""A map's index is asked with pictures, through the map's own encoder."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from indexed_map import write_indexed

from vloc_models import npz
from vloc_models.errors import MapError
from vloc_models.geometry import se3
from vloc_models.localize.retrieve import Finder, index_of
from vloc_models.maps import MapInfo, MapWriter


def test_the_maps_own_pictures_are_found(gallery: Any, toy_encoder: Any, tmp_path: Path) -> None:
    """Pictures before and after look like it too."""
    finder = Finder.of(write_indexed(tmp_path / 'site', gallery, toy_encoder))
    for number in (0, 12, 30, 43):
        found = finder(gallery.drawn[number].views[0], 3)
        assert found.numbers[0] == number
        assert found.likeness[0] > 0.99
        assert len(found.numbers) == 3


def test_places_are_told_as_users_see_the_map(
    gallery: Any, toy_encoder: Any, tmp_path: Path
) -> None:
    T = se3.exp([5.0, 0, 0, 0, 0, 0.5])
    moved = index_of(write_indexed(tmp_path / 'moved', gallery, toy_encoder, T))
    plain = index_of(write_indexed(tmp_path / 'plain', gallery, toy_encoder))
    np.testing.assert_allclose(moved.T_map_cam, T @ plain.T_map_cam, atol=1e-6)


@pytest.mark.parametrize(
    ('index', 'says'),
    [
        (None, 'site: has no index of places; build it again'),
        ({'points': np.zeros((3, 3), np.float32)}, 'index.npz: does not hold an index'),
    ],
)
def test_maps_without_an_index(index: Any, says: str, toy_encoder: Any, tmp_path: Path) -> None:
    with MapWriter(tmp_path / 'site') as writer:
        writer.add_bytes(toy_encoder.record.file, toy_encoder.graph)
        writer.add_bytes(toy_encoder.record.probe, toy_encoder.probe)
        if index is not None:
            writer.add_bytes('index.npz', npz.pack(index))
        name = None if index is None else 'index.npz'
        site = writer.finish(MapInfo(toy_encoder.record, (), (), index=name))
    with pytest.raises(MapError, match=says):
        Finder.of(site)
