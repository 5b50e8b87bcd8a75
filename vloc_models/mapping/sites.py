"""A list of sites, each with recordings and a map of its own: read from yaml, checked first.

docs/many_sites.md shows such a file. What the paths in it name lies beside it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from vloc_models import config
from vloc_models.errors import VlocError
from vloc_models.frames.options import BagOptions
from vloc_models.mapping.build_map import MappingConfig

T = TypeVar('T')
_WORDS = 'auto', 'truth', 'tf', 'none'  # of where poses come from
SiteReport = Callable[[str, str, int, int], None]  # site, step in words, done, of how many


@dataclass(frozen=True)
class Site:
    """One map to be made. All paths are absolute: workers run in other folders."""

    name: str
    bags: tuple[Path, ...]
    out: Path
    options: BagOptions = field(default_factory=BagOptions)
    config: MappingConfig = field(default_factory=MappingConfig)

    def files(self) -> list[Path]:
        """All files that the map is made of."""
        named = [self.options.camera, self.config.encoder.weights, Path(self.options.poses)]
        recorded = [p for bag in self.bags for p in (bag, *sorted(bag.rglob('*')))]
        return [p for p in (*recorded, *named) if p is not None and p.is_file()]


@dataclass(frozen=True)
class _Entry:
    name: str
    bags: tuple[Path, ...]
    out: Path | None = None
    recording: dict[str, Any] = field(default_factory=dict)
    mapping: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _File:
    sites: tuple[_Entry, ...] = ()


def read_sites(path: Path, options: BagOptions, settings: MappingConfig) -> list[Site]:
    """The sites that a yaml file lists.

    Args:
        path: the file; paths in it are relative to its folder.
        options: of all recordings, where a site has none of its own.
        settings: of all maps, likewise.

    Raises:
        VlocError: if the file is not such a list, a recording is missing, or two maps would be
            written to the same place.
    """
    folder = path.absolute().parent
    options, settings = _absolute(options, settings, Path.cwd())
    sites = []
    for entry in config.load(_File, path).sites:
        where = f'{path}: site {entry.name}'
        own = _absolute(
            _filled(options, entry.recording, f'{where}: recording'),
            _filled(settings, entry.mapping, f'{where}: mapping'),
            folder,
        )
        bags = tuple(folder / bag for bag in entry.bags)
        sites.append(Site(entry.name, bags, folder / (entry.out or entry.name), *own))
    _check(sites, str(path))
    return sites


def _filled(default: T, own: Mapping[str, Any], where: str) -> T:
    """The settings of all with a site's own; any fault of them names the site."""
    try:
        return config.fill(type(default), config.merged(asdict(default), own), where)  # type: ignore
    except VlocError as e:
        what = e.what if e.what.startswith(where) else f'{where}: {e.what}'
        raise type(e)(what, e.fix) from e


def _absolute(
    options: BagOptions, settings: MappingConfig, folder: Path
) -> tuple[BagOptions, MappingConfig]:
    """With files that they name told from the root on."""
    if options.camera is not None:
        options = replace(options, camera=folder / options.camera)
    if options.poses not in _WORDS and (folder / options.poses).is_file():  # else a topic
        options = replace(options, poses=str(folder / options.poses))
    if settings.encoder.weights is not None:
        encoder = replace(settings.encoder, weights=folder / settings.encoder.weights)
        settings = replace(settings, encoder=encoder)
    return options, settings


def _check(sites: Sequence[Site], where: str) -> None:
    if not sites:
        raise VlocError(f'{where}: no sites', 'list some: "sites: [{name: ..., bags: [...]}]"')
    names, outs = set[str](), dict[Path, str]()
    for site in sites:
        here = f'{where}: site {site.name}'
        if site.name in names or site.name in ('', '.', '..') or '/' in site.name:
            raise VlocError(
                f'{where}: name {site.name!r}', 'give each site a plain name of its own'
            )
        if not site.bags:
            raise VlocError(f'{here}: no recording is named', 'name a bag or a folder')
        for bag in site.bags:
            if not bag.exists():
                raise VlocError(f'{here}: {bag}: no such bag or folder', 'check the path')
            if _overlap(bag.resolve(), site.out.resolve()):
                raise VlocError(f'{here}: {site.out} is its recording', 'name another "out"')
        for out, other in outs.items():
            if _overlap(out, site.out.resolve()):
                raise VlocError(
                    f'{where}: sites {other} and {site.name} both write to {site.out}',
                    'name another "out"',
                )
        names.add(site.name)
        outs[site.out.resolve()] = site.name


def _overlap(a: Path, b: Path) -> bool:
    return a.is_relative_to(b) or b.is_relative_to(a)
