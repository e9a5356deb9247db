"""Owns the command line as a whole: finds the commands, and turns every failure into one line and an exit code."""

import json
import os
import signal
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from types import FrameType
from typing import NoReturn

import click

from convert import __version__
from convert.commands.convert import convert
from convert.commands.eval import evaluate
from convert.commands.fit import fit
from convert.commands.inspect import inspect
from convert.commands.output import one_line
from convert.commands.verify import verify
from convert.errors import FeatherweightError

ENTRY_POINTS = "featherweight.commands"
EXIT_BAD_INPUT, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130
DEBUG_VARIABLE = "FEATHERWEIGHT_DEBUG"

EPILOG = f"""
\b
Examples:
  featherweight convert bundled:smollm2-135m-instruct models/smollm2-135m-instruct
  featherweight convert ./my-checkpoint models/mine --dtype q4,fp32
  featherweight inspect models/mine
  featherweight verify models/mine
  featherweight serve models

With --json, a command prints one JSON object on stdout; when it fails, one with the key "error".
Progress and logs go to stderr.
Exit codes: 0 done, 1 the input is bad, 2 usage, 130 interrupted.
{DEBUG_VARIABLE}=1 shows where in our code an error came from.
"""


class _Commands(click.Group):
    """Our own commands, and those that other packages add through the entry-point group."""

    def list_commands(self, context: click.Context) -> list[str]:
        return sorted({*super().list_commands(context), *(item.name for item in entry_points(group=ENTRY_POINTS))})

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if (own := super().get_command(context, name)) is not None:
            return own
        return next((_load(item) for item in entry_points(group=ENTRY_POINTS, name=name)), None)


def _load(item: EntryPoint) -> click.Command:
    """The command of an entry point, or one that says why it cannot be had, so that the others still can."""
    try:
        command: click.Command = item.load()
    except ImportError as error:
        problem = f"cannot be loaded: {error}"

        def fail() -> NoReturn:
            raise FeatherweightError(f"the command {item.name!r} {problem}; install {item.module} again")

        return click.Command(item.name, callback=fail, help=f"({problem})")
    return command


@click.group(cls=_Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="featherweight")
def featherweight() -> None:
    """Turn small language models into quantized, verified files that browsers run, and serve them."""


for command in (convert, evaluate, fit, inspect, verify):
    featherweight.add_command(command)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit."""
    signal.signal(signal.SIGTERM, _interrupt)
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in arguments
    try:
        code = featherweight.main(arguments, prog_name="featherweight", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(EXIT_USAGE)
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "featherweight"
        _fail(error, f"{error.format_message()} (see '{path} --help')", as_json, EXIT_USAGE)
    except (KeyboardInterrupt, click.Abort) as error:
        kept = next(iter(getattr(error, "__notes__", ())), "nothing half-written was left")
        _fail(error, f"interrupted; {kept}", as_json, EXIT_INTERRUPTED, "Interrupted")
    except click.ClickException as error:
        _fail(error, error.format_message(), as_json)
    except FeatherweightError as error:
        _fail(error, str(error), as_json)
    except MemoryError as error:
        _fail(error, "out of memory; close other programs or convert fewer variants at once", as_json)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        _fail(error, f"{place}{error.strerror or error}", as_json)
    except Exception as error:
        said = f"unexpected {type(error).__name__}: {error}; this is a defect, please report it ({DEBUG_VARIABLE}=1)"
        _fail(error, said, as_json)


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _fail(
    error: BaseException, message: str, as_json: bool, code: int = EXIT_BAD_INPUT, kind: str | None = None
) -> NoReturn:
    if os.environ.get(DEBUG_VARIABLE):
        sys.excepthook(type(error), error, error.__traceback__)
    message = one_line(message)
    if as_json:
        click.echo(json.dumps({"error": {"kind": kind or type(error).__name__, "message": message}}))
    click.echo(f"featherweight: error: {message}", err=True)
    sys.exit(code)
