"""Progress bars of long work, with the time that remains."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from textwrap import shorten

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column


@contextmanager
def progress_bar(console: Console) -> Iterator[Progress]:
    """A bar a step of the work; nothing but the last state where there is no terminal."""
    columns = (  # where the terminal is narrow the bar gives way
        TextColumn('{task.description:<24}'),
        BarColumn(30),
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        TimeElapsedColumn(table_column=Column(no_wrap=True)),
        TextColumn('left'),
        TimeRemainingColumn(table_column=Column(no_wrap=True)),
        TextColumn('{task.fields[note]}'),
    )
    with Progress(*columns, console=console, refresh_per_second=2) as progress:
        yield progress


def by_step(progress: Progress, note: str = '') -> Callable[[str, int, int], None]:
    """What long work reports to: step in words, done, of how many; a bar for each step."""
    tasks: dict[str, TaskID] = {}

    def report(step: str, done: int, total: int) -> None:
        if step not in tasks:
            tasks[step] = progress.add_task(step, total=total, note=note)
        progress.update(tasks[step], completed=done, total=total)

    return report


def by_site(progress: Progress) -> Callable[[str, str, int, int], None]:
    """As ``by_step``, but a bar for each of many sites, with the step that it is at behind it."""
    tasks: dict[str, TaskID] = {}
    steps: dict[str, str] = {}

    def report(site: str, step: str, done: int, total: int) -> None:
        words = shorten(step, 20, placeholder='...')  # leaves room for the figures
        if site not in tasks:
            tasks[site] = progress.add_task(site, total=total, note=words)
        if steps.get(site, step) != step:
            progress.reset(tasks[site])
        steps[site] = step
        progress.update(tasks[site], completed=done, total=total, note=words)

    return report
