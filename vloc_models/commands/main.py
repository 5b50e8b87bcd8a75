"""``vloc``: one sub-command a file; this one finds it and turns our errors into one line."""

import importlib
import logging
import os
import sys
from collections.abc import Callable, Sequence

import tyro
from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape

from vloc_models.errors import VlocError

COMMANDS = ('info', 'synth')  # each is a function in the module of its name


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``vloc``; returns the exit code: 0 well, 2 for anything the user can put right."""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    handler = RichHandler(console=console, show_time=False, show_path=False)
    logging.basicConfig(level=logging.INFO, format='%(message)s', handlers=[handler], force=True)
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        code = tyro.extras.subcommand_cli_from_dict(
            {name: _command(name) for name in _needed(words)},
            prog='vloc',
            description="A robot's pose in a known place, from one camera image.",
            args=words,
        )
        sys.stdout.flush()
        return code or 0
    except VlocError as e:
        console.print(f'[bold red]vloc:[/] {escape(e.what)}; [bold]{escape(e.fix)}[/]')
        return 2
    except KeyboardInterrupt:
        console.print('vloc: interrupted')
        return 130
    except BrokenPipeError:  # the reader of our output, such as `head`, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _needed(words: list[str]) -> tuple[str, ...]:
    """Only the command that is called, so that none waits for the others' imports."""
    return (words[0],) if words[:1] and words[0] in COMMANDS else COMMANDS


def _command(name: str) -> Callable[..., int | None]:
    return getattr(importlib.import_module(f'vloc_models.commands.{name}'), name)


if __name__ == '__main__':
    sys.exit(main())
