"""``vloc``: one sub-command a file; this one finds it and turns our errors into one line."""

import logging
import os
import sys
from collections.abc import Sequence

import tyro
from rich.console import Console
from rich.logging import RichHandler

from vloc_models.commands.info import info
from vloc_models.commands.synth import synth
from vloc_models.errors import VlocError

COMMANDS = {'info': info, 'synth': synth}


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``vloc``; returns the exit code: 0 well, 2 for anything the user can put right."""
    console = Console(stderr=True)
    handler = RichHandler(console=console, show_time=False, show_path=False)
    logging.basicConfig(level=logging.INFO, format='%(message)s', handlers=[handler])
    try:
        tyro.extras.subcommand_cli_from_dict(
            COMMANDS,
            prog='vloc',
            description="A robot's pose in a known place, from one camera image.",
            args=list(sys.argv[1:] if argv is None else argv),
        )
        sys.stdout.flush()
    except VlocError as e:
        console.print(f'[bold red]vloc:[/] {e.what}', soft_wrap=True, highlight=False, end='')
        console.print(f'; [bold]{e.fix}[/]', soft_wrap=True, highlight=False)
        return 2
    except KeyboardInterrupt:
        console.print('vloc: interrupted')
        return 130
    except BrokenPipeError:  # the reader of our output, such as `head`, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


if __name__ == '__main__':
    sys.exit(main())
