"""The job of one site: its map is made, or is there already, or cannot be made and why."""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vloc_models import __version__, config
from vloc_models.errors import MapError, VlocError
from vloc_models.frames.source import open_source
from vloc_models.mapping.build_map import Report
from vloc_models.mapping.make_map import make_map
from vloc_models.mapping.self_test import in_words
from vloc_models.mapping.sites import Site, SiteReport
from vloc_models.maps import Map, open_map

_log = logging.getLogger(__name__)
_TELL_S = 0.3  # between two reports of a step from a worker


@dataclass(frozen=True)
class Outcome:
    """What became of a site."""

    name: str
    result: Literal['written', 'already there', 'failed']
    words: str  # the map's self-test, or what went wrong, in one line


Job = Callable[[Site, Report], Outcome]
Way = Callable[[Sequence[Site], SiteReport], list[Outcome]]


def make_maps(sites: Sequence[Site], way: Way, report: SiteReport) -> list[Outcome]:
    """The maps of sites that are not there yet.

    Args:
        sites: as ``read_sites`` checked them.
        way: how they are made: one by one, by processes or by machines.
        report: called as the work goes on.

    Returns:
        What became of each site, in their order.
    """
    outcomes = {site.name: there for site in sites if (there := _there(site)) is not None}
    missing = [site for site in sites if site.name not in outcomes]
    if missing:
        outcomes |= {outcome.name: outcome for outcome in way(missing, report)}
    return [outcomes[site.name] for site in sites]


def map_site(site: Site, report: Report) -> Outcome:
    """Make the map of one site; what goes wrong with it is told, and is not in others' way."""
    try:
        source = _fingerprint(site)
        bags = [str(bag) for bag in site.bags]
        with open_source(site.bags, site.options) as recording:
            made = make_map(recording, bags, site.out, site.config, report)
        _remember(site, _facts(source, made))
        return Outcome(site.name, 'written', _told(made))
    except VlocError as e:
        return failed(site, str(e))
    except Exception as e:
        _log.exception('site %s', site.name)
        return failed(site, f'{type(e).__name__}: {e}')


def failed(site: Site, words: str) -> Outcome:
    """Of a site that has no new map; what went wrong becomes one line."""
    return Outcome(site.name, 'failed', ' '.join(words.split()))


def now_and_then(report: Report) -> Report:
    """Tell the first and the last of each step, and little in between: words travel far."""
    last_step, last_time = '', 0.0

    def rarely(step: str, done: int, total: int) -> None:
        nonlocal last_step, last_time
        now = time.monotonic()
        if step != last_step or done == total or now - last_time > _TELL_S:
            last_step, last_time = step, now
            report(step, done, total)

    return rarely


def _there(site: Site) -> Outcome | None:
    """A map of the same recordings, settings and version, none other having replaced it."""
    try:
        kept, made = json.loads(_note(site).read_text()), open_map(site.out)
        if kept != _facts(_fingerprint(site), made):
            return None
        return Outcome(site.name, 'already there', _told(made))
    except (OSError, ValueError, MapError):
        return None


def _remember(site: Site, facts: dict[str, str]) -> None:
    try:
        _note(site).write_text(json.dumps(facts, indent=1))
    except OSError as e:  # the map is there all the same
        _log.warning('%s: %s; the next run makes this map again', _note(site), e.strerror)


def _note(site: Site) -> Path:
    """The file beside a map that tells what it was made of."""
    return site.out.with_name(f'.{site.out.name}.made')


def _facts(source: str, made: Map) -> dict[str, str]:
    """What was made of what. The map's own files tell it, as ``vloc align`` keeps those."""
    files = {name: entry.sha256 for name, entry in made.info.files.items()}
    return {'of': source, 'files': _digest(files)}


def _fingerprint(site: Site) -> str:
    """Changes with settings and recordings; as make does, by the time and size of files."""
    stats = [(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in site.files()]
    settings = config.to_yaml(site.options), config.to_yaml(site.config)
    return _digest([__version__, *settings, list(map(str, site.bags)), stats])


def _digest(what: Any) -> str:
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def _told(made: Map) -> str:
    return f'self-test {in_words(made.info.provenance.self_test)}'
