"""The encoder that ships: frozen, and there in 8 bits too."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vloc_models.errors import MapError
from vloc_models.localize import encoder as module
from vloc_models.localize.encoder import NAME, encoder_of, shipped_graph
from vloc_models.localize.localizer import Localizer, LocalizerConfig
from vloc_models.maps import Map, open_map

V1 = 'ae94457690e8189d20c67c19372e19d3382b9bf3e99c3e32fdd9e2a1f0eb2b2a'


def test_the_shipped_encoder_is_frozen() -> None:
    """Maps on robots need these very weights. Others get another name, and run every bench."""
    assert (NAME, hashlib.sha256(shipped_graph()).hexdigest()) == ('vloc-lite-1', V1)


def test_in_8_bits_it_finds_the_same_poses(tiny_site: Path, gallery: Any) -> None:
    whole, small = (
        Localizer.load(tiny_site, LocalizerConfig(precision=precision))
        for precision in ('float32', 'int8')
    )
    for k in (3, 11):
        views = gallery.drawn[k].views
        a, b = (localizer.locate(views).estimate for localizer in (whole, small))
        assert a is not None
        assert b is not None
        assert np.linalg.norm(a.T_map_base[:3, 3] - b.T_map_base[:3, 3]) < 0.02
        assert not np.array_equal(a.T_map_base, b.T_map_base)  # it was another graph


def test_an_encoder_of_the_maps_own_is_not_there_in_8_bits(tiny_site: Path) -> None:
    site = open_map(tiny_site)
    own = replace(site.info.encoder, file='encoder.onnx')
    other = Map(site.folder, replace(site.info, encoder=own))
    with pytest.raises(MapError, match='not there in 8 bits'):
        encoder_of(other, 1, 'int8')


def test_a_processor_on_which_8_bits_err_is_found_out(
    tiny_site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, '_INT8_TOLERANCE', 1e-6)
    with pytest.raises(MapError, match=r'errs too much on this processor.*use float32'):
        encoder_of(open_map(tiny_site), 1, 'int8')
