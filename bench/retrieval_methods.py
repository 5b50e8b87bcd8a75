"""What pictures are compared by in the bench of retrieval: each way gives rows and a distance."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2
from torch import Tensor

from vloc_models.frames.working import working_view
from vloc_models.localize.cells import encode
from vloc_models.mapping.encoder import ChosenEncoder
from vloc_models.mapping.places import PlacesConfig, index_places
from vloc_models.mapping.sightings import Sightings
from vloc_models.networks.dasgil import DasgilEncoder, Maps, flat
from vloc_models.networks.pooling import NetVlad, rmac
from vloc_models.records import Array, View
from vloc_models.solvers.landmarks import unit, whole_picture
from vloc_models.solvers.retrieval import PlaceIndex

Rows = NDArray[np.float32]  # [N, D], a picture each
_SIDE = 256  # of DASGIL's pictures
_AT_ONCE = 32
_EVERY = 2  # cells, as when a map is made
_WORDS, _CENTRES = 64, 16  # of SIFT's VLAD, of NetVLAD
_TO_CLUSTER = 20_000


@dataclass(frozen=True, eq=False)
class Compared:
    """How like each other queries and the map's pictures are, and what the map keeps of each."""

    likeness: NDArray[np.float32]  # [Q, K] larger is nearer
    bytes_a_picture: float


# ----------------------------------------------------------------------------- DASGIL


def dasgil_maps(encoder: DasgilEncoder, views: Sequence[View], layers: int = 6) -> list[Maps]:
    """The first maps of pictures, some at once."""
    size = _SIDE, _SIDE
    small = [cv2.resize(v.image, size, interpolation=cv2.INTER_AREA) for v in views]
    told = []
    with torch.inference_mode():
        for start in range(0, len(small), _AT_ONCE):
            batch = torch.from_numpy(np.stack(small[start : start + _AT_ONCE]))
            told.append(encoder(batch.permute(0, 3, 1, 2).contiguous() / 255, layers))
    return told


def joined(told: Sequence[Maps], layers: tuple[int, ...]) -> list[Rows]:
    """The flattened maps of some layers, a list of [N, D]."""
    return [torch.cat([flat((maps[n - 1],)) for maps in told]).numpy() for n in layers]


def l1(mapped: Sequence[Rows], asked: Sequence[Rows]) -> Compared:
    """Mean absolute difference, summed over layers (section 3.e)."""
    away = sum(
        torch.cdist(torch.from_numpy(a), torch.from_numpy(m), p=1).numpy() / m.shape[1]
        for m, a in zip(mapped, asked, strict=True)
    )
    return Compared(-np.asarray(away, np.float32), 2.0 * sum(m.shape[1] for m in mapped))


def cosine(mapped: Rows, asked: Rows, bytes_a_number: int = 2) -> Compared:
    """Cosine of rows."""
    return Compared(unit(asked) @ unit(mapped).T, float(bytes_a_number * mapped.shape[1]))


def pooled(told: Sequence[Maps], pool: Callable[[Tensor], Tensor]) -> Rows:
    """One vector a picture of layer 5."""
    with torch.inference_mode():
        return torch.cat([pool(maps[4]) for maps in told]).numpy()


def net_vlad(told: Sequence[Maps], seed: int) -> NetVlad:
    """With k-means' centres of what the map's pictures have; nothing of it is trained."""
    cells = torch.cat([maps[4].flatten(2).transpose(1, 2).flatten(0, 1) for maps in told]).numpy()
    return NetVlad(torch.from_numpy(_centres(unit(cells), _CENTRES, seed)))


def dasgil_readings(
    encoder: DasgilEncoder, mapped: Sequence[View], asked: dict[str, Sequence[View]], seed: int
) -> dict[str, dict[str, Compared]]:
    """Case -> each way to compare the maps of one encoder."""
    known = dasgil_maps(encoder, mapped)
    vlad = net_vlad(known, seed)
    found = {}
    for case, views in asked.items():
        told = dasgil_maps(encoder, views)
        five, both = ((joined(known, n), joined(told, n)) for n in ((5,), (5, 6)))
        found[case] = {
            'layer 5, L1': l1(*five),
            'layers 5+6, L1': l1(*both),
            'layer 5, cosine': cosine(five[0][0], five[1][0]),
            'R-MAC': cosine(pooled(known, rmac), pooled(told, rmac)),
            'NetVLAD': cosine(pooled(known, vlad), pooled(told, vlad)),
        }
    return found


# ------------------------------------------------------------------------------- SIFT


def sift_vlad(
    mapped: Sequence[View], asked: dict[str, Sequence[View]], seeds: Sequence[int]
) -> dict[str, list[Compared]]:
    """Case -> RootSIFT's VLAD with the map's own words, of each seed."""
    known, seen = _sift(mapped), {case: _sift(views) for case, views in asked.items()}
    found: dict[str, list[Compared]] = {case: [] for case in asked}
    for seed in seeds:
        words = _centres(np.concatenate(known), _WORDS, seed)
        rows = _vlad(known, words)
        for case, told in seen.items():
            found[case].append(cosine(rows, _vlad(told, words), 4))
    return found


def _sift(views: Sequence[View]) -> list[Rows]:
    """RootSIFT [N, 128] of each picture (Arandjelovic and Zisserman, CVPR 2012)."""
    sift = cv2.SIFT.create(1000)
    found = []
    for view in views:
        told = sift.detectAndCompute(cv2.cvtColor(view.image, cv2.COLOR_RGB2GRAY), None)[1]
        told = np.zeros((0, 128), np.float32) if told is None else told
        found.append(np.sqrt(told / np.maximum(told.sum(1, keepdims=True), 1e-6)))
    return found


def _vlad(pictures: Sequence[Rows], words: Rows) -> Rows:
    """Each word's sum as long, then the whole of length one."""
    ones = (np.ones(len(told), np.float32) for told in pictures)
    return np.stack([whole_picture(p, o, words) for p, o in zip(pictures, ones, strict=True)])


# ------------------------------------------------------------------------------- ours


@dataclass(frozen=True, eq=False)
class Cells:
    """The surest cells of pictures, picture by picture."""

    features: list[NDArray[np.float32]] = field(default_factory=list)  # [N, C] each
    sure: list[NDArray[np.float32]] = field(default_factory=list)  # [N] each

    @staticmethod
    def of(encoder: ChosenEncoder, views: Sequence[View]) -> 'Cells':
        """Encode pictures as the localizer does."""
        cells = Cells()
        for view in views:
            small = working_view(view, encoder.record.short_side_px)
            spots = encode(encoder.engine, small, _EVERY).spots
            cells.features.append(spots.features)
            cells.sure.append(spots.sure)
        return cells

    def sightings(self) -> Sightings:
        """As mapping has them; where they are does not matter here."""
        picture = np.repeat(np.arange(len(self.sure)), [len(s) for s in self.sure])
        count = len(picture)
        return Sightings(
            np.concatenate(self.features).astype(np.float16),
            np.zeros((count, 2), np.float32),
            np.full((count, 3), np.nan, np.float32),
            np.concatenate(self.sure),
            picture.astype(np.int32),
            np.zeros(count, bool),
        )


def ours(
    mapped: Cells, T_map_cam: Array, asked: dict[str, Cells], numbers: Sequence[int], seed: int
) -> dict[str, dict[str, Compared]]:
    """Case -> our encoder's VLAD as it is, and whitened to so many numbers."""
    seen = mapped.sightings()
    found: dict[str, dict[str, Compared]] = {case: {} for case in asked}
    for many in numbers:
        places = index_places(seen, T_map_cam, PlacesConfig(many), seed)
        index = PlaceIndex(places)
        for case, cells in asked.items():
            told = [index.describe(f, s) for f, s in zip(cells.features, cells.sure, strict=True)]
            known = places.descriptors.astype(np.float32)
            found[case][f'whitened, {many}'] = cosine(known, np.stack(told))
            if many == numbers[0]:  # axes and words are the same whatever is kept
                raw = [_wholes(c, places.axes, places.words) for c in (mapped, cells)]
                found[case]['VLAD'] = cosine(raw[0], raw[1], 1)
    return found


def _wholes(cells: Cells, axes: Rows, words: Rows) -> Rows:
    pairs = zip(cells.features, cells.sure, strict=True)
    return np.stack([whole_picture(unit(f @ axes), s, words) for f, s in pairs])


def _centres(rows: Rows, count: int, seed: int) -> Rows:
    some = rows[np.random.default_rng([17, seed]).permutation(len(rows))[:_TO_CLUSTER]]
    return kmeans2(some, some[:count], minit='matrix')[0].astype(np.float32)
