"""The commands put together. Exit codes: 0 done, 2 bad input, 3 a service is down, 130 interrupted."""

import os
import sys
from importlib.metadata import version
from typing import Annotated, NoReturn

import typer
from typer.exceptions import TyperException

from readmission.cli import api, models, pipeline, platform
from readmission.cli.errors import comes_from_interrupt, describe
from readmission.errors import BadInputError, ReadmissionError
from readmission.local.proxies import past_proxies

INTERRUPTED = 130

_HELP = "Predict hospital readmission. Exit codes: 0 done, 2 bad input, 3 a service is down, 130 interrupted."

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(platform.run)
app.command()(platform.stack)
app.command()(platform.airflow)
app.command()(platform.doctor)
app.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})(platform.psql)
app.command()(platform.migrate)
app.add_typer(pipeline.app, name="pipeline")
app.add_typer(models.app, name="model")
app.command()(models.promote)
app.command()(models.rollback)
app.command()(models.tune)
app.command()(api.serve)
app.command()(api.score)
app.command("api-key")(api.api_key)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"readmission {version('readmission')}")
        raise typer.Exit


@app.callback(help=_HELP)
def _options(
    _: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options of the program itself."""


def main() -> None:
    """Run the command line; an error becomes one line on standard error and an exit code."""
    os.environ.update(past_proxies(os.environ))
    try:
        code = app(standalone_mode=False)  # None, or the code of an Exit; Typer makes one of Ctrl-C
        _end(code)
    except ReadmissionError as error:
        print(f"readmission: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except TyperException as error:
        if message := error.format_message():  # empty where the help was shown instead
            print(f"readmission: {message}; see --help", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except ImportError as error:
        # A compiled module that is interrupted by Ctrl-C while it loads raises ImportError.
        if not comes_from_interrupt(error):
            raise
        _end(INTERRUPTED)
    except OSError as error:  # the last net, below the modules that know better what to do
        print(f"readmission: {describe(error)}", file=sys.stderr)
        sys.exit(BadInputError.exit_code)


def _end(code: int | None) -> NoReturn:
    if code == INTERRUPTED:
        print("readmission: interrupted", file=sys.stderr)
    sys.exit(code)
