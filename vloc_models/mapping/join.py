"""Maps of the parts of one place become one map of several sub-maps."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from vloc_models.errors import MapError
from vloc_models.mapping.prior import PriorFiles, with_prior
from vloc_models.mapping.write_submap import INDEX
from vloc_models.maps import Calibration, ErrorAtInliers, Map, MapInfo, MapWriter, SubMap
from vloc_models.solvers.retrieval import Places

Figures = dict[str, float | None]
_ADDED = ('queries', 'frames', 'answered', 'accepted', 'false_accepts', 'map_seconds')


def join(
    parts: Sequence[Map], floors: Sequence[str], out: Path, prior: PriorFiles | None = None
) -> Map:
    """Write the map ``out`` of parts that were made alike, each of one sub-map.

    Args:
        parts: opened maps; cameras, encoder and origin are those of the first.
        floors: of each part, in words; '' = not known.
        out: the map folder; an old map there is replaced at the end.
        prior: of the whole place.

    Raises:
        MapError: if they cannot be one map, or it cannot be written; the old map is whole.
    """
    first = parts[0].info
    with MapWriter(out) as writer:
        for name in (first.encoder.file, first.encoder.probe):
            if name is not None:
                writer.add_bytes(name, parts[0].read_bytes(name))
        submaps = [
            _copied(part, writer, f'{number:02}', floor)
            for number, (part, floor) in enumerate(zip(parts, floors, strict=True))
        ]
        writer.add_arrays(INDEX, **Places.joined([places_of(part) for part in parts]).arrays())
        info = _described([part.info for part in parts], submaps)
        return writer.finish(with_prior(writer, info, prior))


def places_of(part: Map) -> Places:
    """The index of a map that was just made."""
    assert part.info.index is not None
    where = f'{part.folder}/{part.info.index}'
    return Places.of_arrays(part.read_arrays(part.info.index), where)


def _described(parts: Sequence[MapInfo], submaps: Sequence[SubMap]) -> MapInfo:
    first, tests = parts[0], [info.provenance.self_test for info in parts]
    for info in parts:
        if info.encoder.sha256 != first.encoder.sha256 or info.T_frame_map != first.T_frame_map:
            raise MapError(
                'parts of other encoders or frames cannot be one map', 'make all of them anew'
            )
    return replace(
        first,
        submaps=tuple(submaps),
        index=INDEX,
        calibration=_calibration([i.calibration for i in parts if i.calibration is not None]),
        provenance=replace(
            first.provenance,
            date=datetime.now(timezone.utc).isoformat(timespec='seconds'),
            self_test=_together(tests),
        ),
    )


def _copied(part: Map, writer: MapWriter, name: str, floor: str) -> SubMap:
    """The part's sub-map under another name."""
    (old,) = part.info.submaps
    files = {'head': old.head, 'probe': old.probe, 'weights': old.weights}
    named = dict[str, str]()
    for field, file in {**files, 'landmarks': old.landmarks}.items():
        if file is not None:
            named[field] = f'submaps/{name}/{Path(file).name}'
            writer.add_bytes(named[field], part.read_bytes(file))
    return replace(old, name=name, floor=floor, **named)


def _together(tests: Sequence[Figures]) -> Figures:
    """Counts are added; all else is the mean over the pictures asked."""
    found: Figures = {}
    for key in dict.fromkeys(key for test in tests for key in test):
        known = [(x, t.get('queries') or 0) for t in tests if (x := t.get(key)) is not None]
        if key in _ADDED:
            found[key] = sum(x for x, _ in known)
        elif total := sum(count for _, count in known):
            found[key] = sum(x * count for x, count in known) / total
    return found


def _calibration(parts: Sequence[Calibration]) -> Calibration | None:
    """What all parts together need: the strictest share of inliers, the mean variance."""
    if not parts:
        return None
    weights = [c.queries for c in parts]
    at = {e.inlier_ratio for c in parts for e in c.errors}
    rows = [[e for c in parts for e in c.errors if e.inlier_ratio == r] for r in sorted(at)]
    errors = [
        ErrorAtInliers(
            row[0].inlier_ratio,
            sum(e.queries for e in row),
            float(np.average([e.median_cm for e in row], weights=[e.queries for e in row])),
        )
        for row in rows
    ]
    return Calibration(
        covariance_scale=float(np.average([c.covariance_scale for c in parts], weights=weights)),
        min_inlier_ratio=max(c.min_inlier_ratio for c in parts),
        queries=sum(weights),
        blocks=sum(c.blocks for c in parts),
        errors=tuple(errors),
    )
