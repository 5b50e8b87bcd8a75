"""DASGIL as the bench of retrieval needs it: several ways to train it, each run kept."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import torch

from vloc_models.frames.places import PlaceConfig, read_place, read_real
from vloc_models.networks.dasgil import Dasgil, DasgilConfig, DasgilEncoder
from vloc_models.networks.dasgil_discriminators import DiscriminatorName
from vloc_models.training.dasgil import DasgilData, DasgilTraining, train_dasgil
from vloc_models.training.loop import LoopConfig
from vloc_models.training.weights import load_weights, save_weights

Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Variant:
    """One way to train it."""

    discriminator: DiscriminatorName = 'cascade'
    depth: bool = True
    classes: int = 15


VARIANTS = {
    'flatten': Variant('flatten'),
    'cascade': Variant(),
    'none': Variant('none'),
    'without depth': Variant(depth=False),
    'without classes': Variant(classes=0),
}


@dataclass(frozen=True)
class Runs:
    """What all of them share."""

    photos: Path | None  # what is adapted to; None: no training
    keep: Path
    steps: int
    worlds: int = 8
    drive_s: float = 40.0
    rate_hz: float = 1.5
    batch: int = 4
    most_photos: int = 600
    device: str = 'cpu'

    def train_all(self, names: Sequence[str], seeds: Sequence[int], report: Report) -> None:
        """All runs that are not finished."""
        wanted = [(n, s) for s in seeds for n in names if not self.file(n, s).exists()]
        data = self.data(report) if wanted else None
        for name, seed in wanted:
            assert data is not None
            self.train(name, seed, data, report)

    def data(self, report: Report) -> DasgilData:
        """Rendered places and photos."""
        assert self.photos is not None
        config = PlaceConfig(self.worlds, self.drive_s, self.rate_hz)
        places = []
        for seed in range(self.worlds):
            places.append(read_place(seed, config, self.keep / 'rendered'))
            report('training worlds', seed + 1, self.worlds)
        return DasgilData(places, read_real(self.photos, config.size, self.most_photos))

    def file(self, name: str, seed: int) -> Path:
        """Where the weights of one run are."""
        words = f'dasgil {name} seed {seed} {self.steps}'
        return self.keep / f'{words.replace(" ", "_")}.safetensors'

    def train(self, name: str, seed: int, data: DasgilData, report: Report) -> None:
        """One run; goes on where it was interrupted."""
        variant, file = VARIANTS[name], self.file(name, seed)
        training = DasgilTraining(
            seed=seed,
            network=DasgilConfig(depth=variant.depth, classes=variant.classes),
            discriminator=variant.discriminator,
            batch=self.batch,
            half=True,
            loop=LoopConfig(self.steps, 2e-3, 0.0, checkpoint_s=120),
        )
        words, checkpoint = f'{name}, seed {seed}', file.with_suffix('.pt')
        network = train_dasgil(
            data, training, self.device, checkpoint, lambda n, loss: report(words, n, self.steps)
        )
        temporary = file.with_suffix(f'.{os.getpid()}')
        temporary.write_bytes(save_weights(network))
        temporary.replace(file)
        checkpoint.unlink()

    def encoder(self, name: str, seed: int) -> DasgilEncoder:
        """The trained encoder of a finished run."""
        variant, file = VARIANTS[name], self.file(name, seed)
        network = Dasgil(DasgilConfig(depth=variant.depth, classes=variant.classes))
        load_weights(network, file.read_bytes(), str(file))
        return network.encoder.eval()


def shipped() -> DasgilEncoder:
    """The one that ships with vloc."""
    encoder = DasgilEncoder(DasgilConfig().widths)
    file = resources.files('vloc_models.weights') / 'dasgil.safetensors'
    load_weights(encoder, file.read_bytes(), file.name)
    return encoder.eval()


def untrained(seed: int) -> DasgilEncoder:
    """As it is before the first step."""
    torch.manual_seed(seed)
    return Dasgil(DasgilConfig()).encoder.eval()
