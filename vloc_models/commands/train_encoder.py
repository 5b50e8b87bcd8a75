"""``vloc train-encoder``: make an image encoder from photos and rendered worlds."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
import tyro
from rich.console import Console
from rich.progress import Progress

from vloc_models.commands.progress import progress_bar
from vloc_models.frames.pairs import read_photos
from vloc_models.frames.synthetic import DriveSpec, SyntheticSource, SyntheticSpec, WorldSpec
from vloc_models.records import Frame
from vloc_models.training import encoder as recipe
from vloc_models.training.encoder import EncoderData, EncoderTraining

_DEFAULT = EncoderTraining()


def train_encoder(
    out: tyro.conf.Positional[Path],
    photos: Path | None = None,
    worlds: int = 10,
    world_s: float = 20.0,
    training: Annotated[EncoderTraining, tyro.conf.arg(name='')] = _DEFAULT,
    device: str = 'cpu',
    cache: Path | None = None,
) -> None:
    """Train an encoder; interrupted, the same command goes on where it was.

    Args:
        out: the folder for encoder.safetensors, encoder.onnx and encoder.probe.npz.
        photos: a folder of photos, on which people and places may be used for training.
        worlds: how many synthetic training worlds to drive through.
        world_s: how long each drive is.
        training: the recipe.
        device: cpu or cuda.
        cache: where rendered pictures are kept [$VLOC_CACHE, else the user's cache folder].
    """
    console = Console(stderr=True, markup=False)
    torch.set_num_threads(torch.get_num_threads())
    with progress_bar(console) as progress:
        drives = [_drive(seed, world_s, cache, progress) for seed in range(worlds)]
        data = EncoderData(read_photos(photos) if photos else [], drives)
        task = progress.add_task('training', total=training.loop.steps, note='')

        def report(step: int, loss: float) -> None:
            progress.update(task, completed=step, note=f'loss {loss:.3f}')
            if step % 100 == 0:
                console.print(f'step {step} loss {loss:.3f}')

        checkpoint = out / 'training.pt'
        encoder = recipe.train_encoder(data, training, device, checkpoint, report)


def _drive(seed: int, seconds: float, cache: Path | None, progress: Progress) -> list[Frame]:
    """The frames of one training world, without what training does not need."""
    spec = SyntheticSpec(WorldSpec(seed, 'train'), DriveSpec(seed, duration_s=seconds))
    source = SyntheticSource(spec, cache)
    task = progress.add_task(f'rendering world {seed}', total=len(source), note='')
    frames = []
    for frame in source.frames():
        views = tuple(replace(view, labels=None) for view in frame.views)
        frames.append(replace(frame, views=views))
        progress.advance(task)
    return frames
