"""What a sub-map answers with, as files of a map."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vloc_models.export.to_onnx import SceneNetwork
from vloc_models.mapping.heads import head_files
from vloc_models.mapping.prior import PriorFiles
from vloc_models.maps import MapWriter, SubMap
from vloc_models.solvers.landmarks import Landmarks
from vloc_models.solvers.retrieval import Places

INDEX = 'index.npz'


@dataclass(frozen=True, eq=False)
class Answering:
    """What a map answers with."""

    landmarks: Landmarks | None
    pictures: NDArray[np.int64]  # numbers of those that landmarks were seen in
    places: Places
    head: SceneNetwork | None = None
    prior: PriorFiles | None = None


def write_submap(writer: MapWriter, parts: Answering, centre: NDArray[np.float32]) -> SubMap:
    """Write head and landmarks of the sub-map 00, whose cameras' mean is ``centre``."""
    folder = 'submaps/00'
    x, y, z = centre.tolist()
    submap = SubMap('00', (x, y, z))
    if parts.landmarks is not None:
        submap = replace(submap, landmarks=f'{folder}/landmarks.npz')
        writer.add_arrays(f'{folder}/landmarks.npz', **parts.landmarks.arrays())
    if parts.head is None:
        return submap
    files = head_files(parts.head, parts.pictures)
    names = f'{folder}/head.onnx', f'{folder}/probe.npz', f'{folder}/head.safetensors'
    writer.add_bytes(names[0], files.graph)
    writer.add_arrays(names[1], **files.probe)
    writer.add_bytes(names[2], files.weights)
    network = files.network
    return replace(submap, network=network, head=names[0], probe=names[1], weights=names[2])
