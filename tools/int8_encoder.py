"""The encoder that ships, in 8 bits: encoder.int8.onnx and encoder.int8.probe.npz.

    python tools/int8_encoder.py --photos PHOTOS

Photos and rendered training worlds tell what activations are usual; no weight is trained. The
probe holds small rendered pictures and what the encoder makes of them in float32.
"""

from pathlib import Path

import cv2
import numpy as np
import tyro
from numpy.typing import NDArray
from rich.console import Console

from vloc_models import npz
from vloc_models.engines.onnx_engine import OnnxEngine
from vloc_models.engines.probe import CASES, make_probe
from vloc_models.export.to_int8 import int8_graph
from vloc_models.frames.pairs import read_photos
from vloc_models.frames.synthetic import DriveSpec, SyntheticSource, SyntheticSpec, WorldSpec
from vloc_models.localize.encoder import SHORT_SIDE_PX, shipped_graph

SIZE, PROBED = (480, SHORT_SIDE_PX), (64, 48)
WORLDS, A_WORLD, PHOTOS = 6, 5, 30
LOOKS = ('day', 'evening', 'night')


def main(
    photos: Path,
    out: Path = Path('vloc_models/weights'),
    cache: Path | None = None,
) -> None:
    """Calibrate and write.

    Args:
        photos: a folder of photos.
        out: the folder to write to.
        cache: where rendered pictures are kept [$VLOC_CACHE, else the user's cache folder].
    """
    taken = read_photos(photos)
    some = np.unique(np.linspace(0, len(taken) - 1, PHOTOS).astype(int)).tolist()
    rendered = _rendered(cache)
    shown = [_fitted(picture, SIZE) for picture in (*(taken[n] for n in some), *rendered)]
    graph = int8_graph(shipped_graph(), shown)
    asked = {'image': np.stack([_fitted(picture, PROBED) for picture in rendered[:CASES]])}
    probe = make_probe(OnnxEngine(shipped_graph(), 'encoder'), asked)
    (out / 'encoder.int8.onnx').write_bytes(graph)
    (out / 'encoder.int8.probe.npz').write_bytes(npz.pack(probe))
    Console().print(f'{out}: {len(graph) / 1e6:.2f} MB, of {len(shown)} pictures')


def _rendered(cache: Path | None) -> list[NDArray[np.uint8]]:
    found = []
    for seed in range(WORLDS):
        drive = DriveSpec(seed, rate_hz=1.0, duration_s=10.0 * A_WORLD)
        look = LOOKS[seed % len(LOOKS)]
        source = SyntheticSource(SyntheticSpec(WorldSpec(seed, 'train'), drive, look), cache)
        found += [source.frame(n).views[0].image for n in range(5, len(source), 10)]
    return found


def _fitted(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    rgb = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, 2)
    return cv2.resize(rgb, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


if __name__ == '__main__':
    tyro.cli(main)
