"""``vloc train-encoder``: make an image encoder from photos and rendered worlds."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
from rich.console import Console
from rich.progress import Progress

from vloc_models import npz
from vloc_models.commands.progress import progress_bar
from vloc_models.commands.training_folder import TrainingFolder, check_device
from vloc_models.export.parity import encoder_probe
from vloc_models.export.to_onnx import encoder_graph, round_to_half
from vloc_models.frames.pairs import read_photos
from vloc_models.frames.scenes import Scene, SceneConfig, drives, read_scene
from vloc_models.networks.encoder import LiteEncoder
from vloc_models.training import encoder as trainer
from vloc_models.training.encoder import EncoderData, EncoderTraining
from vloc_models.training.weights import save_weights

_DEFAULT, _SCENES = EncoderTraining(), SceneConfig()
_FILES = ('encoder.safetensors', 'encoder.onnx', 'encoder.probe.npz')


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
    check_device(device)
    folder = TrainingFolder(out, _FILES)
    folder.check(overwrite)
    console = Console(stderr=True, markup=False)
    with progress_bar(console) as progress:
        pictures = read_photos(photos) if photos else []
        rendered = [_scene(seed, scenes, cache, progress) for seed in range(scenes.worlds)]
        recipe = Recipe(len(pictures), scenes, training)
        folder.begin(recipe)
        task = progress.add_task('training', total=training.loop.steps, note='')

        def report(step: int, loss: float) -> None:
            progress.update(task, completed=step, note=f'loss {loss:.3f}')
            if step % 100 == 0:
                console.print(f'step {step} loss {loss:.3f}')

        data = EncoderData(pictures, rendered)
        encoder = trainer.train_encoder(data, training, device, folder.checkpoint, report)
    folder.finish(_contents(encoder), recipe)
    console.print(f'written: {out}')


def _scene(seed: int, config: SceneConfig, cache: Path | None, progress: Progress) -> Scene:
    sources = drives(seed, config, cache)
    task = progress.add_task(f'rendering world {seed}', total=sum(map(len, sources)), note='')
    return read_scene(sources, lambda done: progress.update(task, completed=done))


def _contents(encoder: LiteEncoder) -> dict[str, bytes]:
    """The encoder's files by name."""
    encoder = encoder.cpu().fused()
    round_to_half(encoder)
    return {
        'encoder.safetensors': save_weights(encoder),
        'encoder.onnx': encoder_graph(encoder),
        'encoder.probe.npz': npz.pack(encoder_probe(encoder, np.random.default_rng(0))),
    }
