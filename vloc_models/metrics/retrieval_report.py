"""What was found for each query, as one HTML file of pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vloc_models.metrics import html

_WIDTH = 260  # of a picture


@dataclass(frozen=True, eq=False)
class Shown:
    """A picture with what is said of it. Texts may hold anything; they are escaped here."""

    image: NDArray[np.uint8] | None  # [H, W, 3] RGB; None: it is not known
    words: str
    right: bool | None = None  # None: nobody knows, or it is a query

    def as_html(self) -> str:
        """A figure, framed green where right and red where wrong."""
        kind = {True: 'right', False: 'wrong', None: 'asked'}[self.right]
        drawn = (
            '<p>no picture</p>'
            if self.image is None
            else html.picture(self.image, self.words, _WIDTH)
        )
        words = escape(self.words)
        return f'<figure class="{kind}">{drawn}<figcaption>{words}</figcaption></figure>'


@dataclass(frozen=True, eq=False)
class RetrievalReport:
    """All that the report shows."""

    title: str
    facts: Sequence[tuple[str, str]]
    figures: Sequence[tuple[str, str]]
    queries: Sequence[tuple[Shown, Sequence[Shown]]]  # and what was found for each, best first


def write_retrieval_report(path: Path, report: RetrievalReport) -> None:
    """Write it; VlocError if that is not possible."""
    rows = (
        f'<div class="found">{"".join(s.as_html() for s in (query, *found))}</div>'
        for query, found in report.queries
    )
    body = (
        f'<table>{html.rows(report.facts)}</table>\n'
        f'<h2>Figures</h2>\n<table class="figures">{html.rows(report.figures)}</table>\n'
        '<h2>Queries and what was found for them</h2>\n'
        '<p class="note">The query is at the left, then the pictures of the map that look most '
        'like it, best first: green frames show the same place, red ones another, grey ones are '
        'not known.</p>\n' + '\n'.join(rows)
    )
    html.write_page(path, html.page(report.title, body))
