"""Progress bars of long work, with the time that remains."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


@contextmanager
def progress_bar(console: Console) -> Iterator[Progress]:
    """A bar a step of the work; nothing but the last state where there is no terminal."""
    columns = (
        TextColumn('{task.description:<24}'),
        BarColumn(30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn('left'),
        TimeRemainingColumn(),
        TextColumn('{task.fields[note]}'),
    )
    with Progress(*columns, console=console, refresh_per_second=2) as progress:
        yield progress
