"""Our maps for benches that make several: finished ones are found again, others go on."""

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from rich.console import Console

from vloc_models.commands.locate import check_outputs
from vloc_models.commands.progress import by_step, progress_bar
from vloc_models.config import to_yaml
from vloc_models.frames.source import FrameSource
from vloc_models.mapping.build_map import MappingConfig, build_map
from vloc_models.mapping.encoder import choose_encoder
from vloc_models.maps import Map, open_map


@dataclass(frozen=True)
class Maps:
    """Maps of one recording, each in a folder of its own.

    The folder's name tells recording, settings and encoder too, so that only a map that would be
    made again just so is reused; after the code of mapping has changed, remove them.
    """

    folder: Path
    bag: Path
    config: MappingConfig

    def path(self, name: str) -> Path:
        """Where the map of this name is, or will be."""
        return self.folder / f'{name}_{self._digest}'

    def build(self, name: str, source: FrameSource) -> Map:
        """The map of this name, made of ``source`` if it is not there yet.

        Raises:
            VlocError: if it can neither be opened nor made.
        """
        path = self.path(name)
        if path.exists():
            return open_map(path)
        with progress_bar(Console(stderr=True)) as progress:
            report = by_step(progress, name)
            return build_map(source, [str(self.bag)], path, self.config, report)

    @cached_property
    def _digest(self) -> str:
        encoder = choose_encoder(self.config.encoder).record.sha256
        words = f'{self.bag.resolve()} {encoder} {to_yaml(self.config)}'
        return hashlib.sha256(words.encode()).hexdigest()[:8]


@contextmanager
def maps_of(
    bag: Path, config: MappingConfig, keep: Path | None, json_file: Path | None
) -> Iterator[Maps]:
    """Maps in the folder ``keep``, or in one that is removed at the end.

    Raises:
        VlocError: if the figures cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix='vloc_maps_') as temporary:
        if json_file:
            check_outputs([json_file], Path(temporary))
        yield Maps(keep or Path(temporary), bag, config)
