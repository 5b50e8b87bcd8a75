"""A map that is there is told in another frame."""

from dataclasses import replace

from vloc_models.maps import Map, MapWriter
from vloc_models.records import Array


def realign(site: Map, T_frame_map: Array) -> Map:
    """Replace a map by one that is told in another frame; its files are copied as they are.

    Args:
        site: the map.
        T_frame_map: [4, 4] from the map as it was recorded into the frame.

    Raises:
        MapError: as ``MapWriter``; the map is then as it was.
        VlocError: if it is no rigid transform.
    """
    info = replace(site.info, T_frame_map=tuple(map(tuple, T_frame_map.tolist())))
    with MapWriter(site.folder) as writer:
        for name in site.info.files:
            writer.add_bytes(name, site.read_bytes(name))
        return writer.finish(info)
