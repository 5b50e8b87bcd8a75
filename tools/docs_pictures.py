"""Draw the docs' pictures, all of synthetic worlds: ``python tools/docs_pictures.py [depth]``.

``depth`` draws only what a network has learned of a drive's depth; it takes minutes.
"""

import sys
from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vloc_models.frames.keyframes import read_keyframes
from vloc_models.frames.synthetic import DriveSpec, SyntheticSource, SyntheticSpec, WorldSpec
from vloc_models.frames.synthetic.labels import Label
from vloc_models.frames.synthetic.looks import LOOK_NAMES
from vloc_models.frames.synthetic.preview import preview
from vloc_models.mapping.encoder import EncoderChoice, choose_encoder
from vloc_models.mapping.self_depth import SelfDepthConfig, Teacher, learn_depth
from vloc_models.networks.fsre import FsreConfig
from vloc_models.records import View
from vloc_models.training.fsre import FsreTraining

OUT = Path(__file__).parent.parent / 'docs' / 'pictures'
DRIVE = DriveSpec(kind='query')
MOMENTS = (0.06, 0.3, 0.55, 0.8)  # of the drive
WORLD = WorldSpec(seed=1, rooms=3)
DEPTH_GAP = 4  # pictures before and after those shown that are not learned from


def views(spec: SyntheticSpec) -> list[View]:
    """Four frames along the drive."""
    source = SyntheticSource(spec)
    return [source.frame(int(f * len(source))).views[0] for f in MOMENTS]


def sheet(name: str, rows: dict[str, list[NDArray[np.uint8]]]) -> None:
    """A table of pictures, each row with its name."""
    figure = Figure(figsize=(12, 2.3 * len(rows)), layout='constrained')
    axes = figure.subplots(len(rows), 4, squeeze=False)
    for row, (label, images) in zip(axes, rows.items(), strict=True):
        row[0].set_ylabel(label, fontsize=13)
        for ax, image in zip(row, images, strict=True):
            ax.imshow(image)
            ax.set_xticks([])
            ax.set_yticks([])
    figure.savefig(OUT / name, dpi=100, pil_kwargs={'quality': 82})


def depth_picture(view: View) -> NDArray[np.uint8]:
    """Near is yellow, far is blue."""
    assert view.depth is not None
    return shaded(view.depth)


def shaded(
    x: NDArray[np.floating], most: float = 6.0, colours: str = 'viridis_r'
) -> NDArray[np.uint8]:
    """Numbers from 0 to ``most`` as colours."""
    shade = mpl.colormaps[colours](np.clip(np.nan_to_num(x) / most, 0, 1))
    return (shade[..., :3] * 255).astype(np.uint8)


def label_picture(view: View) -> NDArray[np.uint8]:
    """One colour a class."""
    assert view.labels is not None
    colours = (mpl.colormaps['tab20'](np.arange(len(Label)))[:, :3] * 255).astype(np.uint8)
    return colours[np.minimum(view.labels, len(Label) - 1)]


def depth_sheet() -> None:
    """Learn depth from most of a drive through a test world, and show four other frames."""
    keyframes = read_keyframes(
        SyntheticSource(SyntheticSpec(WorldSpec(1))), 1000, 480, colour=True
    )
    asked = [round(f * len(keyframes)) for f in (0.2, 0.4, 0.6, 0.8)]
    known = [k for i, k in enumerate(keyframes) if min(abs(i - a) for a in asked) > DEPTH_GAP]
    training = FsreTraining(network=FsreConfig(classes=len(Label)))
    config = SelfDepthConfig(training=training)
    learned = learn_depth(known, Teacher(choose_encoder(EncoderChoice()), config))
    rows: dict[str, list[NDArray[np.uint8]]] = {}
    for k in (keyframes[a] for a in asked):
        assert k.image is not None
        assert k.depth is not None
        told = learned.depth_of(k.image, k.camera, k.T_map_cam).depth
        told, true = learned.rectified(k.camera).depth_back(told), k.depth.astype(np.float32)
        pictures = {
            'picture': k.image,
            'learned depth': shaded(told),
            'true depth': shaded(true),
            'error': shaded(np.abs(told - true) / true, 0.5, 'magma'),
        }
        for name, picture in pictures.items():
            rows.setdefault(name, []).append(picture)
    sheet('depth.jpg', rows)


def main() -> None:
    """Draw everything."""
    OUT.mkdir(parents=True, exist_ok=True)
    depth_sheet()
    if 'depth' in sys.argv:
        return
    looks = {look: views(SyntheticSpec(WORLD, DRIVE, look)) for look in LOOK_NAMES}
    sheet('looks.jpg', {look: [v.image for v in shown] for look, shown in looks.items()})
    day = looks['day']
    exact = {'depth': [depth_picture(v) for v in day], 'labels': [label_picture(v) for v in day]}
    sheet('exact.jpg', {'picture': [v.image for v in day], **exact})
    low = views(SyntheticSpec(WorldSpec(seed=1, rooms=3, texture='low'), DRIVE))
    train = [views(SyntheticSpec(WorldSpec(s, 'train', 3), DRIVE)) for s in (1, 2)]
    kinds = {'training 1': train[0], 'training 2': train[1], 'low texture': low}
    sheet('kinds.jpg', {kind: [v.image for v in shown] for kind, shown in kinds.items()})
    drive = preview(SyntheticSource(SyntheticSpec(WORLD, DRIVE)))
    cv2.imwrite(str(OUT / 'drive.jpg'), drive[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 82])


if __name__ == '__main__':
    main()
