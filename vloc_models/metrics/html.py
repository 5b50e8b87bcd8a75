"""An evaluation as one HTML file that needs nothing else: no server, no script, no network."""

import base64
import io
import math
import os
import secrets
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vloc_models import atomic
from vloc_models.errors import VlocError
from vloc_models.metrics import pictures, report
from vloc_models.records import Trajectory

_DPI = 110
_PICTURE_WIDTH = 960


@dataclass(frozen=True, eq=False)
class WorstFrame:
    """A picture of a frame that went wrong, and what is to be said of it."""

    image: NDArray[np.uint8]  # [H, W, 3] RGB
    title: str
    lines: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """All that the report shows. Texts may hold anything; they are escaped here."""

    title: str
    facts: Sequence[tuple[str, str]]  # what was evaluated on what
    figures: Sequence[tuple[str, str]]  # name and value, with its unit
    truth: Trajectory  # T_map_cam of every query
    estimate: Trajectory  # T_map_cam of the answered ones
    inliers: NDArray[np.int64]  # [M] of every estimate
    reasons: Sequence[tuple[str, str, int]]  # verdict, reason, number of frames
    worst: Sequence[WorstFrame] = ()


def number(value: float, unit: str = '', digits: int = 1) -> str:
    """A figure in words: an infinite error is one of a frame without a pose."""
    if math.isnan(value):
        return 'none'
    return f'{value:.{digits}f} {unit}'.rstrip() if math.isfinite(value) else 'no pose'


def write_html(path: Path, evaluation: Evaluation) -> None:
    """Write the report; VlocError if it cannot be written."""
    write_page(path, render(evaluation))


def write_page(path: Path, text: str) -> None:
    """Write any page; a reader of the path sees the old file or the new one, never half of it.

    Raises:
        VlocError: if it cannot be written.
    """
    data = text.encode('utf-8', 'replace')
    target = Path(os.path.realpath(path))  # a link stays one
    new = target.with_name(f'.{secrets.token_hex(8)}.new')
    try:
        atomic.write_file(new, data)
        new.replace(target)
    except OSError as e:
        with suppress(OSError):
            new.unlink()
        raise VlocError(f'{path}: {e.strerror}', 'name a place that can be written to') from e


def render(evaluation: Evaluation) -> str:
    """The text of the report."""
    e = evaluation
    data = e.truth, e.estimate
    plots = (
        ('The way, from above', report.trajectory_figure(*data)),
        ('Error over time', report.error_figure(*data)),
        ('Inliers over time', report.inliers_over_time_figure(*data, e.inliers)),
        ('Error curve', report.curve_figure(*data)),
        ('What inliers say about the error', report.inlier_figure(*data, e.inliers)),
    )
    body = _BODY.substitute(
        facts=rows(e.facts),
        figures=rows(e.figures),
        plots='\n'.join(_plot(title, figure) for title, figure in plots),
        reasons=rows((verdict, reason, str(count)) for verdict, reason, count in e.reasons),
        worst='\n'.join(map(_worst, e.worst)) or '<p>No pictures.</p>',
    )
    return page(e.title, body)


def page(title: str, body: str) -> str:
    """A page of our looks around what is html already."""
    return _PAGE.substitute(title=escape(title), body=body)


def picture(image: NDArray[np.uint8], words: str, width: int) -> str:
    """An <img> of a picture [H, W, 3] RGB, no wider than that."""
    source = _data(pictures.jpeg(image, width), 'jpeg')
    return f'<img alt="{escape(words)}" src="{source}">'


def rows(told: Iterable[Sequence[str]]) -> str:
    """Rows of a table; the first cell of each is its head."""
    lines = []
    for head, *cells in told:
        row = ''.join(f'<td>{escape(cell)}</td>' for cell in cells)
        lines.append(f'<tr><th scope="row">{escape(head)}</th>{row}</tr>')
    return '\n'.join(lines)


def _plot(title: str, figure: Figure) -> str:
    png = io.BytesIO()
    figure.savefig(png, format='png', dpi=_DPI)
    width = round(figure.get_figwidth() * 96)
    return (
        f'<h2>{escape(title)}</h2>\n'
        f'<img style="width:{width}px" alt="{escape(title)}" src="{_data(png.getvalue(), "png")}">'
    )


def _worst(frame: WorstFrame) -> str:
    lines = '<br>\n'.join(escape(line) for line in frame.lines)
    return (
        f'<figure>{picture(frame.image, frame.title, _PICTURE_WIDTH)}\n'
        f'<figcaption><b>{escape(frame.title)}</b><br>\n{lines}</figcaption></figure>'
    )


def _data(data: bytes, kind: str) -> str:
    return f'data:image/{kind};base64,{base64.b64encode(data).decode()}'


_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
body { font: 16px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; color: #222;
       background: #fff; max-width: 60rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; }
img { max-width: 100%; height: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: .25rem 1.5rem .25rem 0;
         border-bottom: 1px solid #e5e5e5; overflow-wrap: anywhere; }
th { font-weight: 500; color: #555; white-space: nowrap; }
thead th { font-weight: 600; color: #222; }
.figures td { font-weight: 600; }
.worst { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(26rem, 100%), 1fr));
         gap: 1.2rem; }
figure { margin: 0; }
figure img { display: block; width: 100%; border-radius: 4px; }
figcaption { font-size: .9rem; padding-top: .3rem; overflow-wrap: anywhere; }
.note { color: #555; font-size: .9rem; }
.found { display: grid; grid-template-columns: repeat(6, minmax(0, 1fr)); gap: .5rem;
         margin-bottom: 1rem; }
.found img { border: 4px solid #999; box-sizing: border-box; }
.found .right img { border-color: #28be5a; }
.found .wrong img { border-color: #eb3c1e; }
.found figcaption { font-size: .75rem; line-height: 1.3; }
</style>
</head>
<body>
<h1>$title</h1>
$body
</body>
</html>
""")

_BODY = Template("""<table>
$facts
</table>
<h2>Figures</h2>
<table class="figures">
$figures
</table>
<p class="note">Errors are measured at the centre of the first camera. Recalls and medians count
every frame whose true pose is known; one without a pose counts as wrong. A false accept is a pose
that was accepted though more than 50 cm or 10 degrees off, or though no true pose is known.</p>
$plots
<h2>What was said, and why</h2>
<table>
<thead><tr><th>verdict</th><th>reason</th><th>frames</th></tr></thead>
<tbody>
$reasons
</tbody>
</table>
<h2>The worst frames</h2>
<p class="note">False accepts first. Each dot is a map point that was recognised, drawn where it
must be seen from the true pose: green within 10 px of the place in the picture where it was
recognised, else red, with a line from there.</p>
<div class="worst">
$worst
</div>""")
