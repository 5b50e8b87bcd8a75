"""``vloc train-encoder``: make an image encoder from photos and rendered worlds."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.progress import Progress

from vloc_models import npz
from vloc_models.commands.progress import progress_bar
from vloc_models.config import to_yaml
from vloc_models.errors import VlocError
from vloc_models.export.parity import encoder_probe
from vloc_models.export.to_onnx import encoder_graph, round_to_half
from vloc_models.frames.pairs import read_photos
from vloc_models.frames.scenes import Scene, SceneConfig, drives, read_scene
from vloc_models.networks.encoder import LiteEncoder
from vloc_models.training import encoder as trainer
from vloc_models.training.encoder import EncoderData, EncoderTraining
from vloc_models.training.weights import save_weights

_DEFAULT, _SCENES = EncoderTraining(), SceneConfig()
_FILES = ('encoder.safetensors', 'encoder.onnx', 'encoder.probe.npz', 'recipe.yaml')


@dataclass(frozen=True)
class Recipe:
    """What an encoder was made from and how: recipe.yaml."""

    photos: int
    scenes: SceneConfig
    training: EncoderTraining


def train_encoder(
    out: tyro.conf.Positional[Path],
    photos: Path | None = None,
    scenes: SceneConfig = _SCENES,
    training: Annotated[EncoderTraining, tyro.conf.arg(name='')] = _DEFAULT,
    device: Literal['cpu', 'cuda'] = 'cpu',
    overwrite: bool = False,
    cache: Path | None = None,
) -> None:
    """Train an encoder; interrupted, the same command goes on where it was.

    Args:
        out: the folder for encoder.safetensors, encoder.onnx, encoder.probe.npz and recipe.yaml.
        photos: a folder of photos, on which people and places may be used for training.
        scenes: the synthetic training worlds to drive through.
        training: the recipe.
        device: cpu or cuda.
        overwrite: replace an encoder that is there.
        cache: where rendered pictures are kept [$VLOC_CACHE, else the user's cache folder].
    """
    if device == 'cuda' and not torch.cuda.is_available():
        raise VlocError('no CUDA device here', 'use --device cpu')
    _check_folder(out, overwrite)
    console = Console(stderr=True, markup=False)
    with progress_bar(console) as progress:
        pictures = read_photos(photos) if photos else []
        rendered = [_scene(seed, scenes, cache, progress) for seed in range(scenes.worlds)]
        recipe = Recipe(len(pictures), scenes, training)
        _begin(out, recipe)
        task = progress.add_task('training', total=training.loop.steps, note='')

        def report(step: int, loss: float) -> None:
            progress.update(task, completed=step, note=f'loss {loss:.3f}')
            if step % 100 == 0:
                console.print(f'step {step} loss {loss:.3f}')

        data, checkpoint = EncoderData(pictures, rendered), out / 'training.pt'
        encoder = trainer.train_encoder(data, training, device, checkpoint, report)
    _finish(out, encoder, recipe)
    console.print(f'written: {out}')


def _scene(seed: int, config: SceneConfig, cache: Path | None, progress: Progress) -> Scene:
    sources = drives(seed, config, cache)
    task = progress.add_task(f'rendering world {seed}', total=sum(map(len, sources)), note='')
    return read_scene(sources, lambda done: progress.update(task, completed=done))


def _check_folder(out: Path, overwrite: bool) -> None:
    """Refuse a folder before hours of work, not after."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        there = [name for name in _FILES if (out / name).exists()]
        half_way = (out / 'training.pt').exists()
    except OSError as e:
        raise VlocError(f'{out}: {e.strerror}', 'name a folder that can be written') from e
    if there and not half_way and not overwrite:
        raise VlocError(
            f'{out}: {there[0]} exists already', 'choose another name, or add --overwrite'
        )
    if not os.access(out, os.W_OK | os.X_OK):
        raise VlocError(f'{out}: cannot be written to', 'name a folder that can')


def _begin(out: Path, recipe: Recipe) -> None:
    """Note the recipe beside the checkpoint, which may only be continued with the same one."""
    note, text = out / 'training.yaml', to_yaml(recipe).encode()
    try:
        other = (out / 'training.pt').exists() and note.exists() and note.read_bytes() != text
    except OSError as e:
        raise VlocError(f'{note}: {e.strerror}', 'delete it') from e
    if other:
        raise VlocError(
            f'{out}: half-way through another recipe (training.yaml)',
            'give the same options, or delete training.pt to start anew',
        )
    _write(note, text)


def _finish(out: Path, encoder: LiteEncoder, recipe: Recipe) -> None:
    """Write the encoder's files; the checkpoint stays until all are there."""
    encoder = encoder.cpu().fused()
    round_to_half(encoder)
    contents = (
        save_weights(encoder),
        encoder_graph(encoder),
        npz.pack(encoder_probe(encoder, np.random.default_rng(0))),
        to_yaml(recipe).encode(),
    )
    for name, data in zip(_FILES, contents, strict=True):
        _write(out / name, data)
    for name in ('training.pt', 'training.yaml'):
        (out / name).unlink(missing_ok=True)


def _write(file: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    temporary = file.with_name(f'.{file.name}.new')
    try:
        temporary.write_bytes(data)
        temporary.replace(file)
    except OSError as e:
        raise VlocError(f'{file}: cannot be written: {e.strerror}', 'free some disk') from e
