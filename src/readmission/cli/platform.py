"""Commands that run the platform on this machine and look into it."""

import signal
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console

from readmission.cli.options import ChosenOptions, takes_options
from readmission.settings import load_settings


class Database(StrEnum):
    """The databases of the platform."""

    RAW = "raw"
    CLEAN = "clean"
    PLATFORM = "platform"


EndWithParent = Annotated[
    int | None, typer.Option(hidden=True, metavar="PID", help="Stop everything when this parent process ends.")
]


@takes_options
def run(options: ChosenOptions, end_with_parent: EndWithParent = None) -> None:
    """Start everything on this machine; train first if no model is in production. Ctrl-C stops everything."""
    _end_with(end_with_parent)
    from readmission.cli.launch import launch

    launch(load_settings(), options(), Console())


def stack(end_with_parent: EndWithParent = None) -> None:
    """Start PostgreSQL, S3 and MLflow only. Ctrl-C stops them."""
    _end_with(end_with_parent)
    from readmission.cli.launch import serve_stack

    serve_stack(load_settings(), Console())


def airflow(end_with_parent: EndWithParent = None) -> None:
    """Start Apache Airflow with the DAGs, and stack and API if they do not run. Ctrl-C stops what was started here."""
    _end_with(end_with_parent)
    from readmission.cli.launch import serve_airflow

    serve_airflow(load_settings(), Console())


def doctor() -> None:
    """Say what is running, what is missing, and what to do about it."""
    from readmission.cli.console import check_table
    from readmission.local.doctor import examine

    checks = examine(load_settings())
    Console().print(check_table([(check.name, check.ok, check.detail, check.advice) for check in checks]))
    if not all(check.ok for check in checks):
        raise typer.Exit(3)


def psql(database: Database, arguments: Annotated[list[str] | None, typer.Argument()] = None) -> None:
    """Open psql on a database of the platform; what follows the name goes to psql."""
    from readmission.local.psql import open_psql

    open_psql(load_settings(), database.value, arguments or [])


def migrate() -> None:
    """Bring platform_db to the schema of this release. `make run` and every pipeline do it; containers do it first."""
    settings = load_settings()
    from readmission.services import resolve_services
    from readmission.warehouse.metadata.migrate import migrate

    done = migrate(resolve_services(settings).platform_url)
    typer.echo(f"platform_db: revision {done.before or 'none'} before, {done.after} now")


def _end_with(parent: int | None) -> None:
    """Stop with a parent that stands between a person and this command, such as make, even if it is killed."""
    if parent is not None:
        from readmission.local.child import end_with_parent

        end_with_parent(parent, signal.SIGTERM)
