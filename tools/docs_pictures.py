"""Draw the pictures of docs/synthetic_world.md: ``python tools/docs_pictures.py``."""

from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vloc_models.frames.synthetic import DriveSpec, SyntheticSource, SyntheticSpec, WorldSpec
from vloc_models.frames.synthetic.labels import Label
from vloc_models.frames.synthetic.looks import LOOK_NAMES
from vloc_models.frames.synthetic.preview import preview
from vloc_models.records import View

OUT = Path(__file__).parent.parent / 'docs' / 'pictures'
DRIVE = DriveSpec(kind='query')
MOMENTS = (0.06, 0.3, 0.55, 0.8)  # of the drive
WORLD = WorldSpec(seed=1, rooms=3)


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
    shade = mpl.colormaps['viridis_r'](np.clip(np.nan_to_num(view.depth) / 6, 0, 1))
    return (shade[..., :3] * 255).astype(np.uint8)


def label_picture(view: View) -> NDArray[np.uint8]:
    """One colour a class."""
    assert view.labels is not None
    colours = (mpl.colormaps['tab20'](np.arange(len(Label)))[:, :3] * 255).astype(np.uint8)
    return colours[np.minimum(view.labels, len(Label) - 1)]


def main() -> None:
    """Draw everything."""
    OUT.mkdir(parents=True, exist_ok=True)
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
