"""The figures of a bench: their names, ours beside the peer's, as a table and as JSON."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

Figures = dict[str, float | None]
_ROWS = (  # key in the JSON, name in the table, format
    ('queries', 'queries', '{:.0f}'),
    ('recall_5cm_5deg', 'within 5 cm, 5 deg', '{:.1%}'),
    ('recall_10cm_5deg', 'within 10 cm, 5 deg', '{:.1%}'),
    ('recall_25cm_5deg', 'within 25 cm, 5 deg', '{:.1%}'),
    ('recall_50cm_10deg', 'within 50 cm, 10 deg', '{:.1%}'),
    ('median_cm', 'median, cm', '{:.2f}'),
    ('median_deg', 'median, deg', '{:.2f}'),
    ('accepted', 'accepted', '{:.0f}'),
    ('false_accepts', 'false accepts', '{:.0f}'),
    ('ms_per_query_median', 'ms per query, median', '{:.1f}'),
    ('ms_per_query_p99', 'ms per query, 99 %', '{:.1f}'),
    ('map_pictures', 'map, pictures given', '{:.0f}'),
    ('map_MB', 'map, MB (2^20 bytes)', '{:.2f}'),
    ('map_seconds', 'map, seconds', '{:.1f}'),
    ('threads_opencv', 'threads of OpenCV', '{:.0f}'),
    ('threads_onnxruntime', 'threads of ONNX Runtime', '{:.0f}'),
)
_ONLY_TOLD = ('accepted', 'false_accepts', 'threads_opencv', 'threads_onnxruntime')  # no ratio
ACCURACY = (
    'recall_5cm_5deg',
    'recall_10cm_5deg',
    'recall_25cm_5deg',
    'recall_50cm_10deg',
    'median_cm',
)


def compared(ours: Figures, peer: Figures) -> dict[str, Figures]:
    """All figures, with None for no finite number, and ours / the peer's."""
    ours, peer = _finite(ours), _finite(peer)
    ratio: Figures = {}
    for key in [key for key, _, _ in _ROWS if key in ours and key not in _ONLY_TOLD]:
        a, b = ours[key], peer.get(key)
        ratio[key] = None if a is None or not b else a / b
    return {'ours': ours, 'peer': peer, 'ratio': ratio}


def table(told: Mapping[str, Figures]) -> Table:
    """What is printed; a dash for no number."""
    shown = Table('', 'ours', 'peer', 'ratio')
    for key, name, form in _ROWS:
        if key not in told['ours']:
            continue
        ours, peer, ratio = (told[column].get(key) for column in ('ours', 'peer', 'ratio'))
        shown.add_row(name, _cell(ours, form), _cell(peer, form), _cell(ratio, '{:.2f}'))
    return shown


def table_of_cases(
    head: str, told: Mapping[str, Mapping[str, Figures]], keys: Sequence[str]
) -> Table:
    """A row a case with some figures of ours, and one with the peer's if it was asked.

    Args:
        head: what the cases are.
        told: case -> 'ours' and perhaps 'peer'.
        keys: the figures to show.
    """
    rows = [row for row in _ROWS if row[0] in keys]
    shown = Table(box=None, pad_edge=False)
    shown.add_column(head, no_wrap=True)
    for name in ('', *(name for _, name, _ in rows)):
        shown.add_column(name)
    for case, both in told.items():
        for title, who in zip((case, ''), ('ours', 'peer'), strict=True):
            if who in both:
                cells = (_cell(both[who].get(key), form) for key, _, form in rows)
                shown.add_row(title, who, *cells)
    return shown


def save(told: Mapping[str, Any], file: Path | None) -> None:
    """Write the figures, if that is wanted."""
    if file:
        file.write_text(as_json(told), 'utf-8')


def as_json(told: Mapping[str, Any]) -> str:
    """Strict JSON: null for no number."""
    return json.dumps(told, indent=1, allow_nan=False) + '\n'


def _cell(x: float | None, form: str) -> str:
    return '-' if x is None else form.format(x)


def _finite(figures: Figures) -> Figures:
    return {k: x if x is not None and math.isfinite(x) else None for k, x in figures.items()}
