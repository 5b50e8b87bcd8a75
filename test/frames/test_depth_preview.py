"""The sheet of pictures and their depth."""

from pathlib import Path

import cv2
import numpy as np

from vloc_models.frames.depth_preview import DepthPreview


def test_pictures_from_the_first_to_the_last(tmp_path: Path) -> None:
    preview = DepthPreview(21, 4)
    for n in range(21):
        image = np.full((30, 40, 3), 10 * n, np.uint8)
        depth = np.full((30, 40), 1 + n / 4, np.float32)
        depth[:, :20] = np.nan
        preview.show(image, depth)
    sheet = preview.sheet()
    assert sheet.shape == (480, 1280, 3)
    assert [sheet[0, 320 * i, 0] for i in range(4)] == [0, 60, 130, 200]
    assert (sheet[240:, :160] == 0).all()  # unknown
    near, far = sheet[300, 250].astype(int), sheet[300, 1200].astype(int)
    assert near[0] > near[2]  # red
    assert far[2] > far[0]  # blue
    assert preview.write(str(tmp_path / 'sheet.png'))
    read = cv2.imread(str(tmp_path / 'sheet.png'))
    assert read is not None
    np.testing.assert_array_equal(read[..., ::-1], sheet)


def test_nothing_to_draw(tmp_path: Path) -> None:
    assert not DepthPreview(3).write(str(tmp_path / 'sheet.png'))
    preview = DepthPreview(1, 1)
    preview.show(np.zeros((3, 4, 3), np.uint8), np.full((3, 4), np.nan, np.float32))
    assert preview.sheet().shape == (480, 1280, 3)
