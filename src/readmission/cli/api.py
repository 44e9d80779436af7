"""Commands that serve predictions, score files and make keys."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from readmission.local.ports import LOOPBACK
from readmission.settings import load_settings


class KeyScope(StrEnum):
    """What a key of the API opens."""

    PREDICT = "predict"
    ADMIN = "admin"


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0: all, as in a container.")] = LOOPBACK,
    port: Annotated[int | None, typer.Option(help="Default: READMISSION_API_PORT.", min=1, max=65_535)] = None,
) -> None:
    """Serve the prediction API alone, until Ctrl-C or SIGTERM: what `make run` and containers start."""
    settings = load_settings()
    from readmission.serving.server import serve

    serve(settings, host, port or settings.api_port)


def score(
    source: Annotated[Path, typer.Argument(help="CSV with a header, or .parquet.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="CSV, or .parquet: written anew.")],
) -> None:
    """Score a file of any size on the model in production."""
    settings = load_settings()
    from readmission.cli.console import progress
    from readmission.context import Progress
    from readmission.serving.app import make_store
    from readmission.serving.inference.score_file import score_file

    scorer = make_store(settings, lambda _: None).load_production()
    with progress(Console(stderr=True)) as report:
        rows = score_file(scorer, source, output, lambda done: report(Progress(f"{done:,} rows scored")))
    typer.echo(f"{rows:,} rows scored on version {scorer.version}: {output}")


def api_key(
    name: Annotated[str, typer.Argument(help="Whom it is for; goes into logs.")],
    scope: Annotated[KeyScope, typer.Option(help="What it opens: admin adds the metrics.")] = KeyScope.PREDICT,
) -> None:
    """Make a key of the API: what its owner keeps, and what READMISSION_API_KEYS takes. It is stored nowhere."""
    from readmission.serving.http.auth import Scope, new_key

    text, key = new_key(name, Scope(scope.value))
    typer.echo(f"key, for {name}, shown once: {text}")
    typer.echo(f"entry of READMISSION_API_KEYS: {key.entry}")
