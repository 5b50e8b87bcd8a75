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

COMMANDS = {  # name: its function, and what the overview says of it without importing it
    'info': ('info:info', 'What a recording or a map holds, and what to mend.'),
    'map': ('map:map_', 'Make a map from a recording.'),
    'align': ('align:align', "Tell a map's poses in another frame, such as that of a Nav2 map."),
    'locate': ('locate:locate', 'Find the pose of every frame of a recording in a map.'),
    'retrieve': (
        'retrieve:retrieve',
        "Show which of a map's pictures look like a recording's.",
    ),
    'evaluate': ('evaluate:evaluate', 'Tell how right a map is, on a recording with the truth.'),
    'check': ('check:check', 'Tell by odometry whether the camera is where TF says, and in time.'),
    'depth': ('depth:depth', 'Learn depth from a recording, and write it as a bag.'),
    'synth': ('synth:synth', 'Record a drive through a synthetic world.'),
    'train-encoder': ('train_encoder:train_encoder', 'Train an image encoder of your own.'),
    'train-places': ('train_places:train_places', 'Train DASGIL, which tells places apart.'),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``vloc``; returns the exit code: 0 well, 2 for anything the user can put right."""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    handler = RichHandler(console=console, show_time=False, show_path=False)
    logging.basicConfig(format='%(message)s', handlers=[handler], force=True)
    logging.getLogger('vloc_models').setLevel(logging.INFO)  # libraries only warn
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        code = tyro.extras.subcommand_cli_from_dict(
            _commands(words),
            prog='vloc',
            description="A robot's pose in a known place, from one camera image.",
            args=words,
            config=(tyro.conf.AvoidSubcommands,),  # of a setting that may be a record or none
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


def _commands(words: list[str]) -> dict[str, Callable[..., int | None]]:
    """Only the command that is called, so that none waits for the others' imports."""
    if words and words[0] in COMMANDS:
        return {words[0]: _command(words[0])}
    return {name: _mention(summary) for name, (_, summary) in COMMANDS.items()}


def _command(name: str) -> Callable[..., int | None]:
    module, _, function = COMMANDS[name][0].partition(':')
    return getattr(importlib.import_module(f'vloc_models.commands.{module}'), function)


def _mention(summary: str) -> Callable[[], int | None]:
    """A command as the overview of all commands shows it."""

    def mention() -> int | None:
        raise VlocError('the command must come first', 'put its options behind its name')

    mention.__doc__ = summary
    return mention


if __name__ == '__main__':
    sys.exit(main())
