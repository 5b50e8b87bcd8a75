"""The encoder that a map needs: the one that ships with vloc, or the map's own."""

import hashlib
from importlib import resources
from typing import Literal

from vloc_models import npz
from vloc_models.engines.onnx_engine import OnnxEngine
from vloc_models.engines.probe import check_probe
from vloc_models.errors import MapError
from vloc_models.maps import Map

NAME = 'vloc-lite-1'
SHORT_SIDE_PX = 360  # of the pictures it is shown; larger ones cost time and gain little
Precision = Literal['float32', 'int8']
_INT8_TOLERANCE = 0.6  # of what float32 makes of pictures; 0.35 where it was made


def shipped_graph() -> bytes:
    """The ONNX graph of our own encoder."""
    return _shipped('encoder.onnx')


def shipped_probe() -> dict:
    """Inputs of our own encoder and torch's outputs."""
    return npz.unpack(_shipped('encoder.probe.npz'), 'the encoder that ships with vloc')


def _shipped(name: str) -> bytes:
    return (resources.files('vloc_models.weights') / name).read_bytes()


def encoder_of(site: Map, threads: int, precision: Precision = 'float32') -> OnnxEngine:
    """The encoder the map's heads were trained on, verified against its probe.

    Args:
        site: an opened map.
        threads: of ONNX Runtime; 0 = all cores.
        precision: int8 is quicker where the processor multiplies bytes, and hardly less precise.

    Raises:
        MapError: if it is neither in the map nor the one that ships with this vloc, or is not
            there in 8 bits.
    """
    wanted = site.info.encoder
    name = f'encoder {wanted.name}'
    if wanted.file is None:
        graph, probe = shipped_graph(), shipped_probe()
    elif precision == 'int8':
        raise MapError(f'{site.folder}: {name} is not there in 8 bits', 'use float32')
    else:
        graph = site.read_bytes(wanted.file)
        if wanted.probe is None:
            raise MapError(f'{site.folder}: {name} has no probe', _REBUILD)
        probe = site.read_arrays(wanted.probe)
    found = hashlib.sha256(graph).hexdigest()
    if found != wanted.sha256:
        raise MapError(
            f'{site.folder}: made with {name} ({wanted.sha256[:12]}), and this is {found[:12]}',
            'use the vloc it was made with, or build the map again with "vloc map"',
        )
    if precision == 'int8':
        return _in_int8(name, threads)
    engine = OnnxEngine(graph, name, threads)
    check_probe(engine, probe, name)
    return engine


def _in_int8(name: str, threads: int) -> OnnxEngine:
    """The shipped one in 8 bits, verified against what it makes of pictures in float32."""
    name = f'{name} in 8 bits'
    engine = OnnxEngine(_shipped('encoder.int8.onnx'), name, threads)
    probe = npz.unpack(_shipped('encoder.int8.probe.npz'), name)
    try:
        check_probe(engine, probe, name, _INT8_TOLERANCE)
    except MapError as e:  # processors add up bytes in different ways
        raise MapError(f'{name}: errs too much on this processor', 'use float32') from e
    return engine


_REBUILD = 'build the map again with "vloc map"'
