"""The command line: ``readmission ...``. Exit codes: 0 done, 2 bad input, 3 a service is down, 130 interrupted."""

import os
import signal
import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console
from typer.exceptions import TyperException

from readmission.ending import comes_from_interrupt, describe
from readmission.errors import BadInputError, ReadmissionError
from readmission.local.ports import LOOPBACK
from readmission.proxies import past_proxies
from readmission.settings import load_settings

if TYPE_CHECKING:
    from readmission.results import Move, Options

INTERRUPTED = 130

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
pipeline_app = typer.Typer(no_args_is_help=True, help="Train, compare and publish models.")
app.add_typer(pipeline_app, name="pipeline")
model_app = typer.Typer(no_args_is_help=True, help="Look at registered models.")
app.add_typer(model_app, name="model")


class Split(StrEnum):
    """What stays in one part."""

    PATIENT = "patient"
    ENCOUNTER = "encounter"


class Database(StrEnum):
    """The databases of the platform."""

    RAW = "raw"
    CLEAN = "clean"
    PLATFORM = "platform"


class KeyScope(StrEnum):
    """What a key of the API opens."""

    PREDICT = "predict"
    ADMIN = "admin"


class Stage(StrEnum):
    """The stages, in their order."""

    DOWNLOAD = "download"
    SPLIT = "split"
    STORE = "store"
    CLEAN = "clean"
    PLAN = "plan"
    TRAIN = "train"
    SELECT = "select"
    PUBLISH = "publish"


Data = Annotated[
    str | None,
    typer.Option(
        help="A path, URL, gdrive://ID, s3://bucket/key or synthetic:ROWS. Default: READMISSION_DATA, else UCI."
    ),
]
BatchSize = Annotated[int | None, typer.Option(help="Rows per training batch. Default: 15000.")]
Batches = Annotated[int | None, typer.Option(help="Number of training batches, instead of their size.")]
SplitBy = Annotated[Split, typer.Option(help="What stays in one part.")]
Seed = Annotated[
    int | None, typer.Option(help="Draw a fresh split, for an experiment. Default: patients keep theirs (42).")
]
Models = Annotated[str | None, typer.Option(help="Model types, separated by commas. Default: all four.")]
Challengers = Annotated[str | None, typer.Option(help="Types to train beside them: tuned_boosting.")]
Objective = Annotated[
    str | None, typer.Option(help="What the class is chosen for: weighted_f1 (default), macro_f1 or lt30_recall.")
]
AlertRate = Annotated[
    float | None, typer.Option(help="With --objective lt30_recall: share of stays to be answered <30. Default: 0.1.")
]
ExcludeExpired = Annotated[
    bool, typer.Option("--exclude-expired", help="Leave out stays that ended in death or hospice.")
]
Reason = Annotated[str, typer.Option(help="Why, for the log of promotions.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON summary as the last line of standard output.")]
EndWithParent = Annotated[
    int | None, typer.Option(hidden=True, metavar="PID", help="Stop everything when this parent process ends.")
]
ExecutionName = Annotated[str | None, typer.Option(help="The execution that a stage belongs to. Default: the latest.")]


@app.command()
def run(
    data: Data = None,
    batch_size: BatchSize = None,
    batches: Batches = None,
    split: SplitBy = Split.PATIENT,
    seed: Seed = None,
    models: Models = None,
    challengers: Challengers = None,
    objective: Objective = None,
    alert_rate: AlertRate = None,
    exclude_expired: ExcludeExpired = False,
    end_with_parent: EndWithParent = None,
) -> None:
    """Start everything on this machine; train first if no model is in production. Ctrl-C stops everything."""
    _end_with(end_with_parent)
    from readmission.launch import launch

    launch(load_settings(), _options(locals()), Console())


@app.command()
def stack(end_with_parent: EndWithParent = None) -> None:
    """Start PostgreSQL, S3 and MLflow only. Ctrl-C stops them."""
    _end_with(end_with_parent)
    from readmission.launch import serve_stack

    serve_stack(load_settings(), Console())


@app.command()
def airflow(end_with_parent: EndWithParent = None) -> None:
    """Start Apache Airflow with the DAGs, and stack and API if they do not run. Ctrl-C stops what was started here."""
    _end_with(end_with_parent)
    from readmission.launch import serve_airflow

    serve_airflow(load_settings(), Console())


@app.command()
def doctor() -> None:
    """Say what is running, what is missing, and what to do about it."""
    from readmission.console import check_table
    from readmission.local.doctor import examine

    checks = examine(load_settings())
    Console().print(check_table([(check.name, check.ok, check.detail, check.advice) for check in checks]))
    if not all(check.ok for check in checks):
        raise typer.Exit(3)


@app.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
def psql(database: Database, arguments: Annotated[list[str] | None, typer.Argument()] = None) -> None:
    """Open psql on a database of the platform; what follows the name goes to psql."""
    from readmission.local.psql import open_psql

    open_psql(load_settings(), database.value, arguments or [])


@app.command()
def promote(version: str, reason: Reason = "") -> None:
    """Point production at a registered version, whatever the gate said of it."""
    settings = load_settings()
    from readmission.registry.manual import promote_by_hand
    from readmission.services import resolve_services

    _tell_move(promote_by_hand(settings, resolve_services(settings), version, reason))


@app.command()
def rollback(reason: Reason = "") -> None:
    """Point production back at the version that was there before the present one."""
    settings = load_settings()
    from readmission.registry.manual import roll_back
    from readmission.services import resolve_services

    _tell_move(roll_back(settings, resolve_services(settings), reason))


def _tell_move(move: "Move") -> None:
    print(f"Production moved from version {move.from_version or 'none'} to version {move.to_version}")


@app.command()
def tune(
    minutes: Annotated[float, typer.Option(min=0, help="Budget; the fit under way is finished.")] = 10.0,
    output: Annotated[Path, typer.Option(help="File for READMISSION_TUNING.")] = Path("tuning.json"),
) -> None:
    """Search parameters of tuned_boosting on the training rows that are stored, out of fold; it looks at no others."""
    settings = load_settings()
    from readmission.console import progress
    from readmission.pipeline import tune as search
    from readmission.services import resolve_services

    with progress(Console(stderr=True)) as report:
        found = search(settings, resolve_services(settings), minutes, output, report)
    print(f"{found.trials} trials, log loss {found.log_loss:.5f} (default {found.default_log_loss:.5f}): {output}")
    print(f"READMISSION_TUNING={output} readmission pipeline run --challengers tuned_boosting")


@model_app.command()
def card(
    version: Annotated[str | None, typer.Argument(help="Default: the version in production.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the card with its figures to this file.")] = None,
) -> None:
    """Show the model card of a version."""
    settings = load_settings()
    from rich.markdown import Markdown

    from readmission.registry.card import HTML, fetch_card
    from readmission.services import resolve_services

    services = resolve_services(settings)
    if html:
        html.write_text(fetch_card(settings, services, version, HTML))
    else:
        Console().print(Markdown(fetch_card(settings, services, version)))


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0: all, as in a container.")] = LOOPBACK,
    port: Annotated[int | None, typer.Option(help="Default: READMISSION_API_PORT.", min=1, max=65_535)] = None,
) -> None:
    """Serve the prediction API alone, until Ctrl-C or SIGTERM: what `make run` and containers start."""
    settings = load_settings()
    from readmission.serving.server import serve

    serve(settings, host, port or settings.api_port)


@app.command()
def score(
    source: Annotated[Path, typer.Argument(help="CSV with a header, or .parquet.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="CSV, or .parquet: written anew.")],
) -> None:
    """Score a file of any size on the model in production."""
    settings = load_settings()
    from readmission.console import progress
    from readmission.context import Progress
    from readmission.serving.app import make_store
    from readmission.serving.score_file import score_file

    scorer = make_store(settings, lambda _: None).load_production()
    with progress(Console(stderr=True)) as report:
        rows = score_file(scorer, source, output, lambda done: report(Progress(f"{done:,} rows scored")))
    typer.echo(f"{rows:,} rows scored on version {scorer.version}: {output}")


@app.command("api-key")
def api_key(
    name: Annotated[str, typer.Argument(help="Whom it is for; goes into logs.")],
    scope: Annotated[KeyScope, typer.Option(help="What it opens: admin adds the metrics.")] = KeyScope.PREDICT,
) -> None:
    """Make a key of the API: what its owner keeps, and what READMISSION_API_KEYS takes. It is stored nowhere."""
    from readmission.serving.api_keys import Scope, new_key

    text, key = new_key(name, Scope(scope.value))
    typer.echo(f"key, for {name}, shown once: {text}")
    typer.echo(f"entry of READMISSION_API_KEYS: {key.entry}")


@pipeline_app.command("run")
def pipeline_run(
    data: Data = None,
    batch_size: BatchSize = None,
    batches: Batches = None,
    split: SplitBy = Split.PATIENT,
    seed: Seed = None,
    models: Models = None,
    challengers: Challengers = None,
    objective: Objective = None,
    alert_rate: AlertRate = None,
    exclude_expired: ExcludeExpired = False,
    json: AsJson = False,
) -> None:
    """Run every stage on the running stack."""
    options = _options(locals())
    settings = load_settings()
    from readmission.console import progress
    from readmission.context import Context, new_execution
    from readmission.execute import execute
    from readmission.launch import show_results
    from readmission.services import resolve_services

    with progress(Console(stderr=True)) as report:
        summary = execute(Context(settings, resolve_services(settings), new_execution(), report), options)
    if json:
        print(summary.model_dump_json())
    else:
        show_results(settings, Console())


def _end_with(parent: int | None) -> None:
    """Stop with a parent that stands between a person and this command, such as make, even if it is killed."""
    if parent is not None:
        from readmission.local.child import end_with_parent

        end_with_parent(parent, signal.SIGTERM)


def _stage_command(stage: Stage) -> None:
    @pipeline_app.command(stage.value, help=f"Run the stage {stage.value} alone, on what earlier stages left.")
    def command(execution: ExecutionName = None, json: AsJson = False) -> None:
        _run_later_stage(stage, execution, json)


def _run_later_stage(stage: Stage, execution: str | None, json: bool) -> None:
    settings = load_settings()
    from readmission.console import progress
    from readmission.execute import continue_execution
    from readmission.services import resolve_services

    with progress(Console(stderr=True)) as report:
        result = continue_execution(settings, resolve_services(settings), execution, stage.value, report)
    if json:
        print(result.model_dump_json())


@pipeline_app.command("download")
def pipeline_download(
    data: Data = None,
    batch_size: BatchSize = None,
    batches: Batches = None,
    split: SplitBy = Split.PATIENT,
    seed: Seed = None,
    models: Models = None,
    challengers: Challengers = None,
    objective: Objective = None,
    alert_rate: AlertRate = None,
    exclude_expired: ExcludeExpired = False,
    json: AsJson = False,
) -> None:
    """Begin an execution with these options and run its first stage alone."""
    options = _options(locals())
    settings = load_settings()
    from readmission.console import progress
    from readmission.execute import begin_execution
    from readmission.services import resolve_services

    with progress(Console(stderr=True)) as report:
        dataset = begin_execution(settings, resolve_services(settings), options, report)
    if json:
        print(dataset.model_dump_json())


for _stage in list(Stage)[1:]:
    _stage_command(_stage)


def _options(given: Mapping[str, Any]) -> "Options":
    """Make options of what a command was given; parameters that are no options are passed over."""
    from readmission.results import Options

    if given["batch_size"] is not None and given["batches"] is not None:
        raise BadInputError("Give --batch-size or --batches, not both")
    if given["alert_rate"] is not None and given["objective"] != "lt30_recall":
        raise BadInputError("--alert-rate belongs to --objective lt30_recall")
    aim = {name: given[name] for name in ("objective", "alert_rate") if given[name] is not None}
    chosen = {name: value for name, value in given.items() if name in Options.model_fields and value is not None}
    for name in ("models", "challengers"):
        if name in chosen:
            chosen[name] = [word.strip() for word in chosen[name].split(",")]
    try:
        return Options.model_validate({**chosen, "aim": aim})
    except ValidationError as error:
        first = error.errors()[0]
        place = first["loc"][1] if first["loc"][0] == "aim" else first["loc"][0]
        raise BadInputError(f"Option --{str(place).replace('_', '-')}: {first['msg']}") from None


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
        # A compiled module tells of Ctrl-C while it loads as an import that failed.
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
