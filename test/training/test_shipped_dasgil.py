"""The DASGIL that ships: one network in three files, which knows places in another light too."""

from importlib import resources
from pathlib import Path

import numpy as np
import torch

from vloc_models import npz
from vloc_models.engines.onnx_engine import OnnxEngine
from vloc_models.engines.probe import check_probe
from vloc_models.export.to_onnx import PlaceEncoder
from vloc_models.frames.places import PlaceConfig, read_place
from vloc_models.networks.dasgil import DasgilConfig, DasgilEncoder, flat
from vloc_models.training.weights import load_weights

FOLDER = resources.files('vloc_models.weights')


def shipped() -> DasgilEncoder:
    encoder = DasgilEncoder(DasgilConfig().widths)
    load_weights(encoder, (FOLDER / 'dasgil.safetensors').read_bytes(), 'dasgil')
    return encoder.eval()


def test_graph_probe_and_weights_are_of_one_network() -> None:
    engine = OnnxEngine((FOLDER / 'dasgil.onnx').read_bytes(), 'dasgil')
    probe = npz.unpack((FOLDER / 'dasgil.probe.npz').read_bytes(), 'dasgil')
    check_probe(engine, probe, 'dasgil')
    image = probe['input_image'][:1]
    with torch.inference_mode():
        wanted = PlaceEncoder(shipped())(torch.from_numpy(image))
    for found, told in zip(engine({'image': image}).values(), wanted, strict=True):
        np.testing.assert_allclose(found, told.numpy(), atol=1e-3 * float(told.std()))


def test_it_knows_a_place_by_night_better_than_untrained(tmp_path: Path) -> None:
    """A place that it was not trained with; each picture by night finds its own by day."""
    config = PlaceConfig(1, 24.0, 0.5, looks=('day', 'night'))
    place = read_place(97, config, tmp_path)
    torch.manual_seed(0)
    right = []
    for encoder in (shipped(), DasgilEncoder(DasgilConfig().widths).eval()):
        with torch.inference_mode():
            day, night = (
                flat((encoder(torch.from_numpy(x).permute(0, 3, 1, 2) / 255, 5)[4],))
                for x in place.images
            )
        nearest = torch.cdist(night, day, p=1).argmin(1).numpy()
        at = place.T_map_cam[:, :3, 3]
        right.append(float((np.linalg.norm(at[nearest] - at, axis=1) < 1.0).mean()))
    assert right[0] > max(0.6, right[1])
