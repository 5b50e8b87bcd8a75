"""What map.yaml holds: the records of a map."""

from dataclasses import dataclass, field

import numpy as np

from vloc_models.checks import check_se3
from vloc_models.errors import MapError
from vloc_models.geometry.camera import Camera

FORMAT = 1
DAMAGED = 'copy the map again, or build it again with "vloc map"'
SHORT_SIDES_PX = range(64, 4097)
Rows = tuple[tuple[float, ...], ...]  # the 4 rows of a transform

_STAY: Rows = tuple(map(tuple, np.eye(4).tolist()))


@dataclass(frozen=True)
class FileEntry:
    """What a file of the map must be."""

    sha256: str
    size_bytes: int


def _check_rows(rows: Rows, name: str) -> None:
    if [len(row) for row in rows] != [4] * 4:
        raise MapError(f'{name} is not 4x4', DAMAGED)
    check_se3(np.array(rows), name)


@dataclass(frozen=True)
class Encoder:
    """The image encoder the heads were trained on."""

    name: str
    sha256: str  # of its ONNX graph
    licence: str
    short_side_px: int  # pictures are brought to this size first
    file: str | None = None  # onnx in the map; None = the one that ships with vloc
    probe: str | None = None  # npz, with file

    def __post_init__(self) -> None:
        if self.short_side_px not in SHORT_SIDES_PX:
            raise MapError(f'encoder: pictures of {self.short_side_px} px', DAMAGED)


@dataclass(frozen=True)
class MapCamera:
    """A camera the map was recorded with."""

    name: str
    camera: Camera
    T_base_cam: Rows

    def __post_init__(self) -> None:
        _check_rows(self.T_base_cam, f'camera {self.name}: T_base_cam')


@dataclass(frozen=True)
class SubMap:
    """One part of the place with a head of its own. Files are names in the map folder."""

    name: str
    centre_m: tuple[float, float, float]  # as recorded; heads answer relative to it
    floor: str = ''
    encoder: str = ''  # sha256 of the one it was made with; '' = the map's
    network: str = ''  # the family of the head, e.g. ace
    head: str | None = None  # onnx
    probe: str | None = None  # npz, inputs of the head and torch's outputs
    weights: str | None = None  # safetensors, to train on
    landmarks: str | None = None  # npz

    @property
    def files(self) -> set[str]:
        """Those that it names."""
        return {self.head, self.probe, self.weights, self.landmarks} - {None}  # pyright: ignore


@dataclass(frozen=True)
class ErrorAtInliers:
    """How far off answers with so many inliers were."""

    inlier_ratio: float  # at least
    queries: int
    median_cm: float


@dataclass(frozen=True)
class Calibration:
    """What pictures that the map had not seen tell of the confidence of its answers."""

    covariance_scale: float  # of the solver's covariance: neighbouring cells err together
    min_inlier_ratio: float  # from which an answer is accepted
    queries: int  # pictures, in
    blocks: int  # of neighbours
    errors: tuple[ErrorAtInliers, ...] = ()

    def __post_init__(self) -> None:
        scale, ratio = self.covariance_scale, self.min_inlier_ratio
        if not 0.01 < scale < 1e6 or not 0 < ratio <= 1:
            raise MapError(f'calibration: covariance times {scale}, {ratio} inliers', DAMAGED)


@dataclass(frozen=True)
class PriorUse:
    """How the pose prior is asked, and how far off its answers were."""

    camera: Camera  # a pinhole; pictures are shown as it would have taken them
    sigma_scale: tuple[float, float]  # of position and rotation: what is told, times this
    pictures: int = 0  # held out, that tell so; 0: what other maps needed


@dataclass(frozen=True)
class Provenance:
    """Where the map comes from."""

    bags: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    vloc: str = ''  # version
    commit: str = ''
    date: str = ''  # ISO 8601
    self_test: dict[str, float | None] = field(default_factory=dict)  # keys of metrics.Score


@dataclass(frozen=True)
class MapInfo:
    """The contents of map.yaml."""

    encoder: Encoder
    cameras: tuple[MapCamera, ...]
    submaps: tuple[SubMap, ...]
    format: int = FORMAT
    frame: str = 'map'
    T_frame_map: Rows = _STAY  # from the map as it was recorded into the frame users see
    calibration: Calibration | None = None  # None: what is shipped decides
    index: str | None = None  # npz: retrieval descriptors and keyframe poses
    prior: str | None = None  # onnx: coarse pose of one image
    prior_probe: str | None = None  # npz, with prior
    prior_use: PriorUse | None = None  # with prior
    provenance: Provenance = field(default_factory=Provenance)
    files: dict[str, FileEntry] = field(default_factory=dict)  # filled in by the writer

    def __post_init__(self) -> None:
        _check_rows(self.T_frame_map, 'T_frame_map')

    def named_files(self) -> set[str]:
        """Every file that a field names."""
        names = {self.index, self.prior, self.prior_probe, self.encoder.file, self.encoder.probe}
        return (names - {None}).union(*(s.files for s in self.submaps))  # pyright: ignore
