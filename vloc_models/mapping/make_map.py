"""A recording of a place of any size becomes a map.

A small place is one part. A large one is split, its parts are made one after the other as if each
were a place of its own, and then joined: time and disk grow with the place, memory does not. The
parts that are finished stay beside the map until the end, so that a killed build goes on.
"""

import hashlib
import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from vloc_models import __version__, config
from vloc_models.errors import MapError
from vloc_models.frames.chosen import Chosen
from vloc_models.frames.keyframes import read_keyframes
from vloc_models.frames.source import FrameSource
from vloc_models.mapping.build_map import MappingConfig, Report, build_map
from vloc_models.mapping.encoder import choose_encoder
from vloc_models.mapping.join import join, places_of
from vloc_models.mapping.places import index_places
from vloc_models.mapping.prior import PriorFiles, prior_files
from vloc_models.mapping.sightings import look
from vloc_models.mapping.split import Part, split
from vloc_models.maps import Map, MapWriter, open_map
from vloc_models.records import Trajectory
from vloc_models.solvers.retrieval import Places

_GLIMPSES = 200  # pictures
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
    paths = [folder / f'{number:02}' for number in range(len(parts))]
    finished = [path for path in paths if path.exists()]
    like = places_of(open_map(finished[0])) if finished else _glimpsed(site, report)
    prior = _prior(site, folder, report) if site.config.prior else None
    config = replace(site.config, prior=False)  # one for all parts
    for number, (part, path) in enumerate(zip(parts, paths, strict=True)):
        if path not in finished:
            frames = Chosen(site.source, site.way.stamps_ns[part.members])
            told = partial(_of_part, report, f'part {number + 1} of {len(parts)}: ')
            build_map(frames, site.bags, path, config, told, like)
    made = [open_map(path) for path in paths]
    joined = join(made, [part.floor for part in parts], out, prior)
    shutil.rmtree(folder, ignore_errors=True)
    return joined


def _prior(site: _Site, folder: Path, report: Report) -> PriorFiles:
    """Of pictures of the whole place; what is trained is kept in the folder."""
    c, side = site.config, choose_encoder(site.config.encoder).record.short_side_px
    reading = partial(report, 'reading for the pose prior')
    keyframes = read_keyframes(site.source, c.max_images, side, reading, colour=True)
    return prior_files(keyframes, c.pose_prior, c.seed, c.device, folder / 'prior', report)


def _glimpsed(site: _Site, report: Report) -> Places:
    """The index of some pictures of the whole place, whose axes suit all parts."""
    encoder, config = choose_encoder(site.config.encoder), site.config
    side, reading = encoder.record.short_side_px, partial(report, 'looking around')
    keyframes = read_keyframes(site.source, _GLIMPSES, side, reading)
    T_map_cam = np.stack([k.T_map_cam for k in keyframes])
    return index_places(look(keyframes, encoder), T_map_cam, config.places, config.seed)


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
