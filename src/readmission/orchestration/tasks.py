"""Airflow's runner: one task of an execution, on whatever host; the execution is found by its name.

Nothing passes between tasks but that name: results are stored in platform_db, rows in tables, the file in S3. So a task
can run again, and gives the same result again.
"""

import hashlib
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ValidationError

from readmission.context import Context, Progress
from readmission.errors import BadInputError, LockHeldError
from readmission.orchestration.answers import answer
from readmission.orchestration.execution import begin, call_here, find, load, pipeline_lock, run_step, stored_options
from readmission.orchestration.executors import one_by_one
from readmission.orchestration.steps import Step, steps_of_task
from readmission.orchestration.tables_in_use import owns_tables
from readmission.results import Options, Publication, Selection, TrainingConfig
from readmission.services import resolve_services
from readmission.settings import load_settings
from readmission.warehouse.connection import connect
from readmission.warehouse.metadata import executions
from readmission.warehouse.metadata.migrate import migrate

_log = logging.getLogger(__name__)

_LOCK_SECONDS = 900.0
"""How long a step waits while another run holds the pipeline's lock."""


def execution_name(dag: str, run: str) -> str:
    """Name the execution of a DAG's run: the same run has the same execution, whichever task asks.

    Args:
        dag: name of the DAG.
        run: what Airflow calls its run, such as ``manual__2026-11-26T05:00:00+00:00``.
    """
    # The name is part of a schema's name: short, of few characters, and still no two alike.
    mark = hashlib.sha256(f"{dag} {run}".encode()).hexdigest()[:8]
    return f"{re.sub(r'[^a-z0-9]+', '_', run.lower()).strip('_')[:36]}_{mark}"


def latest_execution(before: datetime) -> str:
    """Name the execution that began last before a moment, such as the start of a run: each of its tasks asks."""
    with connect(_context("").services.platform_url) as connection:
        return executions.latest_execution(connection, before)


def run_task(
    task: str, execution: str, options: Mapping[str, Any] | None = None, config: Mapping[str, Any] | None = None
) -> Any:
    """Run the steps of a task.

    Args:
        task: its name in the table of steps.
        execution: its name.
        options: the user's, for the task that begins the execution.
        config: the cumulative set, for a mapped task.

    Returns:
        a short form of the first step's result; see ``answers``.

    Raises:
        BadInputError: an option is wrong, or an earlier task has not run.
        ReadmissionError: it failed; the previous tables and model stay as they were.
    """
    context = _context(execution)
    if options is not None:
        migrate(context.services.platform_url)
    chosen = None if options is None else _checked(options)
    results = [_run(step, context, chosen, config) for step in steps_of_task(task)]
    return answer(results[0])


def _run(step: Step, context: Context, chosen: Options | None, config: Mapping[str, Any] | None) -> Any:
    """Run a step, unless its stored result stands."""
    with _wait_for_lock(context) if step.lock else nullcontext():
        stored = _standing_result(step, context)
        if stored is not None:
            return stored
        if chosen is not None:
            begin(context, chosen)
        options = chosen or stored_options(context)
        if not step.mapped:
            return run_step(step, context, options)
        one = TrainingConfig.model_validate(config)
        return run_step(step, context, options, _for_one_set(context, one), one.cumulative_idx)[one.cumulative_idx]


def _for_one_set(context: Context, config: TrainingConfig) -> Callable[..., Any]:
    """Call the function of a mapped step for one set, with all cores for each fit."""
    executor = one_by_one(context.settings.workers)
    return lambda function, *inputs: call_here(function, *inputs, (config,), executor)


def _standing_result(step: Step, context: Context) -> BaseModel | None:
    """The stored result of a step that must not do its work again (see ``steps.Repeat``); None where it has to."""
    if step.repeat == "until_in_use" and owns_tables(context):
        return load(context, step.name, BaseModel)
    if step.repeat == "once_per_winner":
        publication: Publication | None = find(context, step)
        best = load(context, "evaluate", Selection).best
        # Done again, it would overrule a rollback since.
        if publication is not None and publication.model is not None and publication.model.run_id == best.run_id:
            return publication
    return None


def _context(execution: str) -> Context:
    settings = load_settings()
    return Context(settings, resolve_services(settings), execution, _log_progress)


def _log_progress(progress: Progress) -> None:
    share = f" ({progress.done:,} of {progress.total:,})" if progress.total else ""
    _log.info("%s%s", progress.what, share)


@contextmanager
def _wait_for_lock(context: Context) -> Iterator[None]:
    """Hold the lock of the pipeline; wait for it, for another run's step is under way.

    Raises:
        LockHeldError: it takes too long.
    """
    deadline = time.monotonic() + _LOCK_SECONDS
    with ExitStack() as held:
        while True:
            try:
                held.enter_context(pipeline_lock(context))
                break
            except LockHeldError as error:
                if time.monotonic() > deadline:
                    raise
                _log.info("Waiting: %s", error)
            time.sleep(5)
        yield


def _checked(given: Mapping[str, Any]) -> Options:
    try:
        return Options.model_validate({name: value for name, value in given.items() if value not in (None, "", [])})
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInputError(f"Parameter {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
