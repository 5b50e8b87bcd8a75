"""Our encoder, or one in the published layout: nothing else, and no code from a file."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vloc_models import npz
from vloc_models.engines.onnx_engine import OnnxEngine
from vloc_models.engines.probe import check_probe
from vloc_models.errors import VlocError
from vloc_models.geometry.camera import Camera
from vloc_models.localize import cells
from vloc_models.localize import encoder as shipped
from vloc_models.mapping.encoder import ChosenEncoder, EncoderChoice, _published, choose_encoder
from vloc_models.networks.ace import PublishedEncoder
from vloc_models.records import View

GREY = np.random.default_rng(0).integers(0, 256, (64, 80), np.uint8)


@pytest.fixture(scope='module')
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made-up weights in the published layout."""
    torch.manual_seed(3)
    path = tmp_path_factory.mktemp('weights') / 'ace_encoder_pretrained.pt'
    torch.save(PublishedEncoder().state_dict(), path)
    return path


@pytest.fixture(scope='module')
def ace(published: Path) -> ChosenEncoder:
    return choose_encoder(EncoderChoice('ace', published), 1)


def test_ours_is_the_one_that_ships() -> None:
    chosen = choose_encoder(EncoderChoice(), 1)
    assert chosen.graph == shipped.shipped_graph()
    assert chosen.record.sha256 == hashlib.sha256(chosen.graph).hexdigest()
    assert (chosen.record.name, chosen.record.licence) == (shipped.NAME, 'Apache-2.0')
    assert chosen.record.file is chosen.record.probe is None  # not copied into maps
    assert chosen.record.short_side_px == shipped.SHORT_SIDE_PX
    assert chosen.engine.outputs == ('features', 'sure')
    assert check_probe(chosen.engine, npz.unpack(chosen.probe, 'probe'), 'probe') < 1e-3


@pytest.mark.parametrize('size', [0, -5, 63, 4097])
def test_a_size_that_makes_no_sense_is_refused(size: int) -> None:
    with pytest.raises(VlocError, match=f'short-side-px {size} makes no sense; give 64 to 4096'):
        EncoderChoice(short_side_px=size)


@pytest.mark.parametrize('every', [1, 2, 3])
def test_cells_are_those_that_the_localizer_sees(every: int) -> None:
    chosen = choose_encoder(EncoderChoice(), 1)
    camera = Camera(80, 64, 60.0, 60.0, 39.5, 31.5)
    view = View(np.repeat(GREY[..., None], 3, 2), camera, np.eye(4))
    seen = cells.encode(chosen.engine, view, every).spots
    found = chosen(GREY, every)
    assert len(found.features) == -(-8 // every) * -(-10 // every)
    for name, values in vars(seen).items():
        np.testing.assert_array_equal(getattr(found, name), values)
    if every == 1:
        np.testing.assert_array_equal(chosen(GREY).features, found.features)


def test_pictures_may_be_of_another_size() -> None:
    assert choose_encoder(EncoderChoice(short_side_px=240), 1).record.short_side_px == 240


def test_published_weights_are_loaded(published: Path) -> None:
    module, state = _published(published), torch.load(published, weights_only=True)
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, state[name])


@pytest.mark.slow
def test_features_are_those_of_the_published_network(ace: ChosenEncoder, published: Path) -> None:
    module = PublishedEncoder()
    module.load_state_dict(torch.load(published, weights_only=True))
    with torch.no_grad():
        wanted = module((torch.from_numpy(GREY)[None, None] / 255 - 0.4) / 0.25)[0].numpy()
    assert wanted.shape == (512, 8, 10)
    found = ace(GREY)
    assert (found.sure == 1).all()
    grid = found.features.T.reshape(512, 8, 10)
    np.testing.assert_allclose(grid, wanted, atol=3e-2 * wanted.std())  # in half floats


@pytest.mark.slow
def test_a_map_carries_the_published_encoder_and_its_licence(ace: ChosenEncoder) -> None:
    assert 'non-commercial' in ace.record.licence
    assert ace.record.short_side_px == 480
    assert (ace.record.file, ace.record.probe) == ('encoder.onnx', 'encoder.probe.npz')
    assert ace.record.sha256 == hashlib.sha256(ace.graph).hexdigest()
    engine = OnnxEngine(ace.graph, 'ace', 1)
    assert check_probe(engine, npz.unpack(ace.probe, 'probe'), 'probe') < 1e-3


def test_ace_without_weights_says_where_to_get_them() -> None:
    with pytest.raises(VlocError, match=r'do not ship.*non-commercial.*--encoder.weights'):
        choose_encoder(EncoderChoice('ace'))


def test_lite_takes_no_weights(published: Path) -> None:
    with pytest.raises(VlocError, match='leave out the weights'):
        choose_encoder(EncoderChoice('lite', published))


def refused(path: Path, words: str = 'not the published ACE encoder') -> None:
    with pytest.raises(VlocError, match=words) as caught:
        choose_encoder(EncoderChoice('ace', path))
    assert str(path) in caught.value.what


def test_no_file(tmp_path: Path) -> None:
    refused(tmp_path / 'none.pt', 'No such file')
    refused(tmp_path)


@pytest.mark.parametrize('raw', [b'', b'nonsense' * 99, b'PK\x03\x04' + b'0' * 99, b'\x80\x02.'])
def test_other_bytes(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / 'weights.pt'
    path.write_bytes(raw)
    refused(path)


def test_a_truncated_file(tmp_path: Path, published: Path) -> None:
    path = tmp_path / 'weights.pt'
    path.write_bytes(published.read_bytes()[:-5000])
    refused(path)


def without(state: dict[str, Any]) -> object:
    return {k: v for k, v in state.items() if k != 'conv3.bias'}


def more(state: dict[str, Any]) -> object:
    return {**state, 'head.weight': torch.zeros(1)}


def misshapen(state: dict[str, Any]) -> object:
    return {**state, 'conv1.weight': torch.zeros(32, 3, 3, 3)}


def tensors(state: dict[str, Any]) -> object:
    return list(state.values())


@pytest.mark.parametrize('change', [without, more, misshapen, tensors])
def test_weights_of_another_network(
    tmp_path: Path, published: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    path = tmp_path / 'weights.pt'
    torch.save(change(torch.load(published, weights_only=True)), path)
    refused(path)


def test_nan_weights(tmp_path: Path, published: Path) -> None:
    state = torch.load(published, weights_only=True)
    state['conv2.bias'][3] = float('nan')
    torch.save(state, tmp_path / 'weights.pt')
    refused(tmp_path / 'weights.pt', 'holds NaN')


class Evil:
    """Runs code when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self.mark),)


def test_code_in_the_file_is_not_run(tmp_path: Path, published: Path) -> None:
    state = torch.load(published, weights_only=True)
    path, mark = tmp_path / 'weights.pt', tmp_path / 'was_run'
    torch.save({**state, 'more': Evil(mark)}, path)
    refused(path)
    assert not mark.exists()
