"""A small map that holds an index of places, and nothing else to be located with."""

from pathlib import Path
from typing import Any

import numpy as np

from vloc_models import npz
from vloc_models.frames.keyframes import read_keyframes
from vloc_models.mapping.places import PlacesConfig, index_places
from vloc_models.mapping.sightings import look
from vloc_models.maps import Map, MapInfo, MapWriter, Rows


def write_indexed(path: Path, source: Any, encoder: Any, T_frame_map: Any = None) -> Map:
    """Of all pictures of a source, with an encoder that the map carries."""
    keyframes = read_keyframes(source, 1000, encoder.record.short_side_px)
    T_map_cam = np.stack([k.T_map_cam for k in keyframes])
    config = PlacesConfig(16, words=8, cell_numbers=8)
    places = index_places(look(keyframes, encoder), T_map_cam, config, 0)
    rows: Rows = tuple(map(tuple, (np.eye(4) if T_frame_map is None else T_frame_map).tolist()))
    info = MapInfo(encoder.record, (), (), index='index.npz', T_frame_map=rows)
    with MapWriter(path) as writer:
        writer.add_bytes('index.npz', npz.pack(places.arrays()))
        writer.add_bytes(encoder.record.file, encoder.graph)
        writer.add_bytes(encoder.record.probe, encoder.probe)
        return writer.finish(info)
