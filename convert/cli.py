"""Owns the command line as a whole: finds the commands, and turns every failure into one line and an exit code."""

import json
import signal
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from types import FrameType
from typing import Any, NoReturn

import click

from convert import __version__
from convert.commands.convert import convert
from convert.commands.eval import evaluate
from convert.commands.inspect import inspect
from convert.commands.verify import verify
from convert.errors import FeatherweightError

ENTRY_POINTS = "featherweight.commands"
EXIT_BAD_INPUT, EXIT_INTERRUPTED = 1, 130

EPILOG = """
\b
Examples:
  featherweight convert bundled:smollm2-135m-instruct models/smollm2-135m-instruct
  featherweight convert ./my-checkpoint models/mine --dtype q4 --dtype fp32
  featherweight inspect models/mine
  featherweight verify models/mine
  featherweight serve models

Exit codes: 0 done, 1 the input is bad, 2 usage, 130 interrupted.
"""


class _Commands(click.Group):
    """Our own commands, and those that other packages add through the entry-point group."""

    def list_commands(self, context: click.Context) -> list[str]:
        return sorted({*super().list_commands(context), *(item.name for item in entry_points(group=ENTRY_POINTS))})

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if (own := super().get_command(context, name)) is not None:
            return own
        for item in entry_points(group=ENTRY_POINTS, name=name):
            command: click.Command = item.load()
            return command
        return None


@click.group(cls=_Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="featherweight")
def featherweight() -> None:
    """Turn small language models into quantized, verified files that browsers run, and serve them."""


for command in (convert, evaluate, inspect, verify):
    featherweight.add_command(command)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit."""
    signal.signal(signal.SIGTERM, _interrupt)
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        featherweight.main(arguments, prog_name="featherweight", standalone_mode=False)
    except FeatherweightError as error:
        _fail(error, arguments)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo("featherweight: interrupted; nothing half-written was left", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        sys.exit(EXIT_BAD_INPUT)
    sys.exit(0)


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _fail(error: FeatherweightError, arguments: Sequence[str]) -> NoReturn:
    message = " ".join(str(error).split())
    if "--json" in arguments:
        content: dict[str, Any] = {"error": {"kind": type(error).__name__, "message": message}}
        click.echo(json.dumps(content))
    click.echo(f"featherweight: error: {message}", err=True)
    sys.exit(EXIT_BAD_INPUT)
