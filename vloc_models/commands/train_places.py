"""``vloc train-places``: train DASGIL, which tells places apart, on rendered worlds and photos."""

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
from vloc_models.errors import VlocError
from vloc_models.export.parity import place_probe
from vloc_models.export.to_onnx import PLACE_SIZE, place_graph
from vloc_models.frames.places import Place, PlaceConfig, read_place, read_real
from vloc_models.networks.dasgil import DasgilEncoder
from vloc_models.training import dasgil as trainer
from vloc_models.training.dasgil import DasgilData, DasgilTraining
from vloc_models.training.weights import load_weights, save_weights

_DEFAULT, _PLACES = DasgilTraining(), PlaceConfig()
_FILES = ('dasgil.safetensors', 'dasgil.onnx', 'dasgil.probe.npz')


@dataclass(frozen=True)
class Recipe:
    """What an encoder of places was made from and how: recipe.yaml."""

    photos: int
    places: PlaceConfig
    training: DasgilTraining


def train_places(
    out: tyro.conf.Positional[Path],
    photos: Path | None = None,
    most_photos: int = 3000,
    places: PlaceConfig = _PLACES,
    training: Annotated[DasgilTraining, tyro.conf.arg(name='')] = _DEFAULT,
    device: Literal['cpu', 'cuda'] = 'cpu',
    overwrite: bool = False,
    cache: Path | None = None,
) -> None:
    """Train DASGIL's encoder; interrupted, the same command goes on where it was.

        vloc train-places places --photos PHOTOS

    Maps do not use it: pictures are compared by what the map's own encoder sees, which finds more
    (docs/retrieval.md).

    Args:
        out: the folder for dasgil.safetensors, dasgil.onnx, dasgil.probe.npz and recipe.yaml.
        photos: a folder of real photos that the rendered pictures shall look like to the encoder.
        most_photos: so many of them are kept in memory, evenly from all, 0.2 MB each.
        places: the synthetic training worlds to drive through.
        training: the recipe.
        device: cpu or cuda.
        overwrite: replace an encoder that is there.
        cache: where rendered pictures are kept [$VLOC_CACHE, else the user's cache folder].
    """
    check_device(device)
    if places.size != PLACE_SIZE:
        raise VlocError(
            f'places: pictures of {places.size[1]}x{places.size[0]}',
            f'leave out --places.size: the graph is of {PLACE_SIZE[1]}x{PLACE_SIZE[0]}',
        )
    folder = TrainingFolder(out, _FILES)
    folder.check(overwrite)
    console = Console(stderr=True, markup=False)
    with progress_bar(console) as progress:
        real = read_real(photos, places.size, most_photos) if photos else None
        rendered = [_place(seed, places, cache, progress) for seed in range(places.worlds)]
        recipe = Recipe(0 if real is None else len(real), places, training)
        folder.begin(recipe)
        task = progress.add_task('training', total=training.loop.steps, note='')

        def report(step: int, loss: float) -> None:
            progress.update(task, completed=step, note=f'loss {loss:.3f}')

        data = DasgilData(rendered, real)
        network = trainer.train_dasgil(data, training, device, folder.checkpoint, report)
    folder.finish(_contents(network.encoder), recipe)
    console.print(f'written: {out}')


def _place(seed: int, config: PlaceConfig, cache: Path | None, progress: Progress) -> Place:
    task = progress.add_task(f'rendering world {seed}', total=None, note='')
    return read_place(
        seed,
        config,
        cache,
        lambda done, total: progress.update(task, completed=done, total=total),
    )


def _contents(encoder: DasgilEncoder) -> dict[str, bytes]:
    """The encoder's files by name; the graph computes with what is in the weights' file."""
    weights = save_weights(encoder)
    load_weights(encoder, weights, _FILES[0])
    probe = npz.pack(place_probe(encoder, np.random.default_rng(0)))
    return dict(zip(_FILES, (weights, place_graph(encoder), probe), strict=True))
