"""One picture that shows a synthetic recording: the way driven, and frames along it."""

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_models.frames.synthetic.labels import Label
from vloc_models.frames.synthetic.source import SyntheticSource

_TILE = (320, 240)
_COLUMNS, _ROWS = 4, 3


def preview(source: SyntheticSource) -> NDArray[np.uint8]:
    """Twelve evenly spaced frames [H, W, 3] with the map beside them."""
    picks = np.linspace(0, len(source) - 1, _COLUMNS * _ROWS).astype(int)
    tiles = [
        cv2.resize(source.frame(int(i)).views[0].image, _TILE, interpolation=cv2.INTER_AREA)
        for i in picks
    ]
    rows = [np.hstack(tiles[r * _COLUMNS : (r + 1) * _COLUMNS]) for r in range(_ROWS)]
    sheet = np.vstack(rows)
    return np.vstack([sheet, _floor_plan(source, sheet.shape[1], picks)]).astype(np.uint8)


def write_preview(path: str, source: SyntheticSource) -> bool:
    """Draw and save as the file name's ending says; False if it could not be written."""
    return cv2.imwrite(path, preview(source)[..., ::-1])


def _floor_plan(source: SyntheticSource, width: int, picks: NDArray[np.intp]) -> NDArray[np.uint8]:
    """All upright surfaces from above in grey and colour, the drive on top."""
    s = source.surfaces
    low, high = s.origin[:, :2].min(0) - 0.3, s.origin[:, :2].max(0) + 0.3
    scale = min(width / (high - low)[0], 900 / (high - low)[1])
    size = np.ceil((high - low) * scale).astype(int)
    plan = np.full((size[1], width, 3), 255, np.uint8)

    def at(xy: NDArray[np.float64]) -> NDArray[np.int32]:
        pixels = (np.asarray(xy)[..., :2] - low) * scale
        pixels[..., 1] = size[1] - pixels[..., 1]
        return np.round(pixels).astype(np.int32)

    for label in (Label.FLOOR, Label.TABLE, Label.CABINET, Label.SOFA, Label.BED, Label.CHAIR):
        for i in np.flatnonzero((s.label == label) & (s.normal[:, 2] > 0.9)):
            corners = [s.origin[i], s.origin[i] + s.a[i], s.origin[i] + s.a[i] + s.b[i]]
            outline = at(np.stack([*corners, s.origin[i] + s.b[i]]))
            shade = (240, 240, 235) if label == Label.FLOOR else (205, 190, 170)
            cv2.fillPoly(plan, [outline], shade, cv2.LINE_AA)
    for i in np.flatnonzero((s.label == Label.WALL) & (np.abs(s.normal[:, 2]) < 0.1)):
        ends = at(np.stack([s.origin[i], s.origin[i] + s.a[i]]))
        cv2.line(plan, ends[0].tolist(), ends[1].tolist(), (60, 60, 60), 2, cv2.LINE_AA)
    way = at(source.truth.T_map_body[:, :3, 3])
    cv2.polylines(plan, [way], False, (0, 114, 178), 2, cv2.LINE_AA)
    poses = source.trajectory().T_map_body[picks]
    for a, b in zip(at(poses[:, :3, 3]), at(poses[:, :3, 3] + 0.4 * poses[:, :3, 0]), strict=True):
        cv2.arrowedLine(plan, a.tolist(), b.tolist(), (213, 94, 0), 2, cv2.LINE_AA, tipLength=0.4)
    return plan
