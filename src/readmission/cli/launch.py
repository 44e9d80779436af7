"""``make run``: start the local stack and the API, train if nothing is in production, stay in the foreground."""

import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from importlib.util import find_spec

from rich.console import Console

from readmission.cli.console import (
    address_table,
    decision_line,
    expired_line,
    progress,
    result_table,
    wide,
    winner_line,
)
from readmission.context import Context, new_execution
from readmission.errors import BadInputError, LockHeldError
from readmission.local.api_server import ApiServer
from readmission.local.interrupts import Interrupts
from readmission.local.ports import LOOPBACK
from readmission.local.stack import LocalStack, is_running
from readmission.mlflow_rest import MlflowRest
from readmission.results import Options, Publication, Selection
from readmission.services import resolve_services
from readmission.settings import Settings
from readmission.warehouse.connection import connect
from readmission.warehouse.metadata import executions, promotions
from readmission.warehouse.metadata.migrate import migrate
from readmission.warehouse.metadata.run_lock import run_lock
from readmission.warehouse.swap import finish_swaps

_LOOKUP_SECONDS = 30.0
_WATCH_SECONDS = 0.5


def launch(settings: Settings, options: Options, console: Console) -> None:
    """Run everything on this machine until Ctrl-C.

    Args:
        settings: of the platform.
        options: for the pipeline, if it has to run.
        console: for people.
    """
    with local_stack(settings, console, api=True) as stack:
        finish_interrupted(settings)
        if not has_production(settings):
            _train(settings, options, console)
        show_results(settings, console)
        console.print(address_table(addresses(settings)))
        wait_for_the_end(stack, console)


def serve_stack(settings: Settings, console: Console) -> None:
    """Run PostgreSQL, S3 and MLflow alone until Ctrl-C."""
    with local_stack(settings, console, api=False) as stack:
        finish_interrupted(settings)
        console.print(address_table({name: url for name, url in addresses(settings).items() if "API" not in name}))
        wait_for_the_end(stack, console)


def local_stack(settings: Settings, console: Console, *, api: bool) -> LocalStack:
    """The stack; its platform_db has the tables of this release before the API first looks for them."""
    return LocalStack(
        settings, shown_on(console), api=api, on_databases=lambda: migrate(resolve_services(settings).platform_url)
    )


def shown_on(console: Console) -> Callable[[str], None]:
    """Show lines of progress as they are."""
    return lambda line: console.print(line, highlight=False, markup=False)


def wait_for_the_end(stack: LocalStack, console: Console) -> None:
    """Offer Ctrl-C, and wait for it; a stop is in order from the offer on."""
    with suppress(KeyboardInterrupt):
        console.print("Ctrl-C stops everything.")
        stack.wait()


def serve_airflow(settings: Settings, console: Console) -> None:
    """Run Airflow until Ctrl-C or SIGTERM, and beside it the stack and the API, unless they run already.

    Raises:
        BadInputError: there is no folder of DAGs, or no Airflow.
        ServiceDownError: something does not start.
    """
    from readmission.local.airflow import LocalAirflow

    if find_spec("airflow") is None:
        raise BadInputError("Apache Airflow is not installed here: `make airflow` adds it, and starts it")
    if not settings.dags_folder.is_dir():
        raise BadInputError(f"No folder {settings.dags_folder.absolute()}: set READMISSION_DAGS_FOLDER")

    with ExitStack() as running:
        beside: list[ApiServer] = []
        if is_running(settings):
            check = running.enter_context(Interrupts()).check
            beside = [] if answers(settings) else [ApiServer(settings)]
        else:
            check = running.enter_context(local_stack(settings, console, api=True)).check
        finish_interrupted(settings)
        airflow = running.enter_context(LocalAirflow(settings, shown_on(console), beside))
        console.print(address_table({**addresses(settings), **airflow.addresses()}))
        with suppress(KeyboardInterrupt):
            console.print("Ctrl-C stops everything that was started here.")
            while True:
                check()
                airflow.check()
                time.sleep(_WATCH_SECONDS)


def answers(settings: Settings) -> bool:
    """Whether something takes connections on the API's port."""
    with socket.socket() as candidate:
        return candidate.connect_ex((LOOPBACK, settings.api_port)) == 0


def finish_interrupted(settings: Settings) -> None:
    """Finish what a killed run had begun to swap or promote, unless another run is under way: then it is that run's."""
    services = resolve_services(settings)
    migrate(services.platform_url)
    with suppress(LockHeldError), run_lock(services.platform_url, "start of the stack"):
        finish_swaps(services)
        with connect(services.platform_url) as connection:
            pending = promotions.pending_promotions(connection)
        if pending:
            from readmission.registry.promotion import finish_promotions  # loads MLflow, which takes seconds

            finish_promotions(services)


def has_production(settings: Settings) -> bool:
    """Whether the registry names a production version; asked by REST, since MLflow's client takes seconds to load.

    Raises:
        ServiceDownError: MLflow does not answer, or not as MLflow does. To train then might replace a good model.
    """
    registry = MlflowRest(resolve_services(settings).mlflow_url, _LOOKUP_SECONDS)
    return registry.production_version(settings.model_name) is not None


def _train(settings: Settings, options: Options, console: Console) -> None:
    console.print("No model in production yet: running the pipeline.")
    from readmission.orchestration.runner import run_pipeline

    with progress(console) as report:
        context = Context(settings, resolve_services(settings), new_execution(), report, synthetic_fallback=True)
        summary = run_pipeline(context, options)
    console.print(
        f"Pipeline done in {summary.seconds:.0f} s; version {summary.registered_version}: {summary.decision}."
    )


def show_results(settings: Settings, console: Console) -> None:
    """Print the results of the execution that was published last, and clearly what it was trained on."""
    url = resolve_services(settings).platform_url
    migrate(url)  # the model in production may have come from elsewhere: then no run was here yet
    with connect(url) as connection:
        found = executions.latest_result(connection, "evaluate")
        dataset = executions.latest_result(connection, "download")
        published = executions.latest_result(connection, "publish")
    if found is None or dataset is None or published is None:
        return
    selection = Selection.model_validate(found)
    wide(console).print(result_table(selection))
    console.print(winner_line(selection), highlight=False, soft_wrap=True)
    if selection.expired and selection.expired.rows:
        line = expired_line(selection.expired, selection.metrics["test_f1_score"])
        console.print(line, highlight=False, soft_wrap=True)
    console.print(decision_line(Publication.model_validate(published)), highlight=False, soft_wrap=True)
    console.print(f"Data: {dataset['source']}", highlight=False, soft_wrap=True)
    if dataset["kind"] == "synthetic":
        reason = dataset["fallback"] or "asked for"
        console.print(f"SYNTHETIC DATA ({reason}): not for use on patients", style="bold red", highlight=False)


def addresses(settings: Settings) -> dict[str, str]:
    """Where everything answers."""
    host = "http://127.0.0.1"
    return {
        "Prediction API": f"{host}:{settings.api_port}",
        "API documentation": f"{host}:{settings.api_port}/docs",
        "MLflow": f"{host}:{settings.mlflow_port}",
        "S3": f"{host}:{settings.s3_port}",
        "S3 admin": f"{host}:{settings.s3_admin_port} (user admin)",
        "PostgreSQL": f"127.0.0.1:{settings.postgres_port} (raw_data_db, clean_data_db, platform_db)",
        "Passwords": str(settings.home / "credentials.json"),
    }
