"""A recording of a place of any size becomes a map.

A small place is one part. A large one is split, its parts are made one after the other as if each
were a place of its own, and then joined: time and disk grow with the place, memory does not. The
parts that are finished stay beside the map until the end, so that a killed build goes on.
"""

import hashlib
import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from vloc_models import __version__, config
from vloc_models.errors import MapError
from vloc_models.frames.chosen import Chosen
from vloc_models.frames.source import FrameSource
from vloc_models.mapping.build_map import MappingConfig, Report, build_map
from vloc_models.mapping.join import join
from vloc_models.mapping.split import Part, split
from vloc_models.maps import Map, MapWriter, open_map
from vloc_models.records import Trajectory

_log = logging.getLogger(__name__)


def make_map(
    source: FrameSource,
    bags: Sequence[str],
    out: Path,
    config: MappingConfig,
    report: Report = lambda step, done, total: None,
) -> Map:
    """Make a map of a recording, of as many sub-maps as its size asks for.

    Args:
        source: pictures with poses, and depth where there is some.
        bags: what the recording is called, for the map's provenance.
        out: the map folder; an old map there is replaced at the end.
        config: how.
        report: called as the work goes on.

    Raises:
        VlocError: if the recording makes no map, or memory or disk run out; the old map is whole.
    """
    way = source.trajectory()
    parts = split(way.T_map_body[:, :3, 3], config.split, config.seed) if len(way) else []
    if len(parts) < 2:
        return build_map(source, bags, out, config, report)
    with MapWriter(out):  # is there a place to write to? known now, not in hours
        pass
    return _joined(_Site(source, tuple(bags), config, way), parts, out, report)


@dataclass(frozen=True, eq=False)
class _Site:
    """What all parts share."""

    source: FrameSource
    bags: tuple[str, ...]
    config: MappingConfig
    way: Trajectory

    @property
    def fingerprint(self) -> str:
        """Changes with anything that the parts depend on, but for the pictures themselves."""
        words = f'{__version__} {self.bags} {config.to_yaml(self.config)}'
        way = self.way.stamps_ns.tobytes() + self.way.T_map_body.tobytes()
        return hashlib.sha256(words.encode() + way).hexdigest()


def _joined(site: _Site, parts: Sequence[Part], out: Path, report: Report) -> Map:
    folder = _settled(out, site.fingerprint)
    _log.info(f'a large place: {len(parts)} sub-maps')
    made = list[Map]()
    for number, part in enumerate(parts):
        path = folder / f'{number:02}'
        if not path.exists():
            frames = Chosen(site.source, site.way.stamps_ns[part.members])
            words = f'part {number + 1} of {len(parts)}: '
            build_map(frames, site.bags, path, site.config, partial(_of_part, report, words))
        made.append(open_map(path))
    joined = join(made, [part.floor for part in parts], out)
    shutil.rmtree(folder, ignore_errors=True)
    return joined


def _of_part(report: Report, words: str, step: str, done: int, total: int) -> None:
    report(words + step, done, total)


def _settled(out: Path, fingerprint: str) -> Path:
    """The folder of the parts; those of another build are removed."""
    folder = out.resolve().with_name(f'.{out.resolve().name}.parts')
    note = folder / 'fingerprint'
    try:
        if note.is_file() and note.read_text() == fingerprint:
            _log.info('going on with the parts that are finished')
            return folder
        if folder.is_symlink():  # what it points to is not ours to empty
            raise MapError(f'{folder}: is a link', 'remove it')
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        note.write_text(fingerprint)
    except OSError as e:
        raise MapError(f'{folder}: {e.strerror}', 'make room or name another disk') from e
    return folder
