from pathlib import Path

import cv2
import numpy as np
import pytest

from vloc_models.errors import VlocError
from vloc_models.frames.pairs import read_photos


def test_photos_are_read_in_order_and_others_left_out(tmp_path: Path) -> None:
    for name, level in (('b.png', 20), ('a.JPG', 10), ('c.jpeg', 30)):
        assert cv2.imwrite(str(tmp_path / name), np.full((9, 7, 3), level, np.uint8))
    (tmp_path / 'd.png').write_bytes(b'no picture')
    (tmp_path / 'notes.txt').write_text('nothing')
    photos = read_photos(tmp_path)
    assert [p.shape for p in photos] == [(9, 7)] * 3
    assert [round(float(p.mean())) for p in photos] == [10, 20, 30]


@pytest.mark.parametrize('name', ['', 'missing'])
def test_a_folder_without_photos_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(VlocError, match='no readable'):
        read_photos(tmp_path / name)
