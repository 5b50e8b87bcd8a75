"""The encoder that a map needs: the one that ships with vloc, or the map's own."""

import hashlib
from importlib import resources

from vloc_models import npz
from vloc_models.engines.onnx_engine import OnnxEngine
from vloc_models.engines.probe import check_probe
from vloc_models.errors import MapError
from vloc_models.maps import Map

NAME = 'vloc-lite-1'
SHORT_SIDE_PX = 360  # of the pictures it is shown; larger ones cost time and gain little


def shipped_graph() -> bytes:
    """The ONNX graph of our own encoder."""
    return _shipped('encoder.onnx')


def shipped_probe() -> dict:
    """Inputs of our own encoder and torch's outputs."""
    return npz.unpack(_shipped('encoder.probe.npz'), 'the encoder that ships with vloc')


def _shipped(name: str) -> bytes:
    return (resources.files('vloc_models.weights') / name).read_bytes()


def encoder_of(site: Map, threads: int) -> OnnxEngine:
    """The encoder the map's heads were trained on, verified against its probe.

    Raises:
        MapError: if it is neither in the map nor the one that ships with this vloc.
    """
    wanted = site.info.encoder
    if wanted.file is None:
        graph, probe = shipped_graph(), shipped_probe()
    else:
        graph = site.read_bytes(wanted.file)
        if wanted.probe is None:
            raise MapError(f'{site.folder}: encoder {wanted.name} has no probe', _REBUILD)
        probe = site.read_arrays(wanted.probe)
    found = hashlib.sha256(graph).hexdigest()
    if found != wanted.sha256:
        raise MapError(
            f'{site.folder}: made with encoder {wanted.name} ({wanted.sha256[:12]}), '
            f'and this is {found[:12]}',
            'use the vloc it was made with, or build the map again with "vloc map"',
        )
    engine = OnnxEngine(graph, f'encoder {wanted.name}', threads)
    check_probe(engine, probe, f'encoder {wanted.name}')
    return engine


_REBUILD = 'build the map again with "vloc map"'
