"""What an orchestrator calls: one step of an execution each, on whatever host, found by the execution's name.

Between steps nothing passes but that name: results are kept in platform_db, rows in tables, the file in S3. So a step
can be done again, and gives the same result again. Answers are small and plain, as orchestrators pass them on.
"""

import hashlib
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import Any

import httpx
from pydantic import BaseModel, ValidationError

from readmission.context import Context, Progress
from readmission.dataset.source_file import Dataset
from readmission.errors import BadInputError, LockHeldError, ReadmissionError
from readmission.mlflow_rest import MlflowRest
from readmission.orchestration import stages as pipeline
from readmission.orchestration.runner import begin, draw_report, load, pipeline_lock, save
from readmission.results import (
    Models,
    Options,
    Plan,
    Publication,
    Selection,
    SplitResult,
    StoreResult,
    TrainedModel,
    TrainingConfig,
)
from readmission.services import resolve_services
from readmission.settings import load_settings
from readmission.warehouse.connection import connect
from readmission.warehouse.metadata import store as platform

Answer = dict[str, Any]

_log = logging.getLogger(__name__)

FOLLOW_SECONDS = 120.0
"""The API looks for a new version every few seconds; then it fetches and checks it."""

_SET = "train set {}"
"""The stage under which the models of one cumulative set are kept."""

_PUBLISHED = "published model"

_TURN_SECONDS = 900.0
"""How long a step waits while another run holds the pipeline's lock."""


def execution_name(dag: str, run: str) -> str:
    """Name the execution of an orchestrator's run: the same run has the same execution, whichever step asks.

    Args:
        dag: name of the DAG.
        run: what the orchestrator calls its run, such as ``manual__2026-11-26T05:00:00+00:00``.
    """
    # The name is part of a schema's name: short, of few characters, and still no two alike.
    mark = hashlib.sha256(f"{dag} {run}".encode()).hexdigest()[:8]
    return f"{re.sub(r'[^a-z0-9]+', '_', run.lower()).strip('_')[:36]}_{mark}"


def latest_execution(before: datetime) -> str:
    """Name the execution that began last before a moment, such as the start of a run: each of its steps asks."""
    with connect(_context("").services.platform_url) as connection:
        return platform.latest_execution(connection, before)


def download(execution: str, options: Mapping[str, Any]) -> Answer:
    """Begin the execution, and get the data file."""
    context, chosen = _context(execution), _options(options)
    platform.create_tables(context.services.platform_url)
    with _turn(context):
        if pipeline.is_in_place(context):  # what its tables and models are made of
            return _dataset(context).model_dump(mode="json")
        begin(context, chosen)
        return _keep(context, "download", pipeline.download(context, chosen))


def split(execution: str) -> Answer:
    """Give rows their part and their batch."""
    context = _context(execution)
    with _turn(context):
        return _once(
            context, "split", SplitResult, lambda: pipeline.split(context, _dataset(context), _chosen(context))
        )


def create_batch_tables(execution: str) -> Answer:
    """Load the training rows."""
    context = _context(execution)
    return _once(context, "store batches", StoreResult, lambda: pipeline.store_batches(context, _dataset(context)))


def create_cumulative_views(execution: str) -> Answer:
    """Create the views over them."""
    context = _context(execution)
    batches = load(context, "split", SplitResult).batches
    return _once(context, "store views", StoreResult, lambda: pipeline.store_views(context, batches))


def store_validation_test(execution: str) -> Answer:
    """Load the rows held out."""
    context = _context(execution)
    return _once(context, "store holdout", StoreResult, lambda: pipeline.store_holdout(context, _dataset(context)))


def clean(execution: str) -> Answer:
    """Clean all tables, and swap the new set in."""
    context = _context(execution)
    with _turn(context):
        batches = load(context, "split", SplitResult).batches
        return _keep(context, "clean", pipeline.clean(context, batches, _chosen(context)))


def plan_training(execution: str) -> list[Answer]:
    """List the cumulative sets, the largest first: the longest work begins first."""
    context = _context(execution)
    # Nothing of an earlier try may be ranked beside, or in place of, what is trained now.
    _forget(context, "^(plan|train)")
    plan = pipeline.plan_training(context, _dataset(context), _chosen(context))
    _keep(context, "plan", plan)
    return [config.model_dump() for config in reversed(plan.configs)]


def train(execution: str, config: Mapping[str, Any]) -> Answer:
    """Train every type on one cumulative set; answer the F1 of each."""
    context, chosen = _context(execution), TrainingConfig.model_validate(config)
    _forget(context, f"^(train|{_SET.format(chosen.cumulative_idx)})$")
    models = pipeline.train(context, _dataset(context), load(context, "plan", Plan), chosen)
    _keep(context, _SET.format(chosen.cumulative_idx), Models(models=tuple(models)))
    return {"view": chosen.view, **{model.model_type: model.metrics["val_f1_score"] for model in models}}


def aggregate(execution: str) -> Answer:
    """Rank all models of the sets that are complete, and name those that are not."""
    context = _context(execution)
    configs = load(context, "plan", Plan).configs
    found = {config.view: _trained(context, _SET.format(config.cumulative_idx)) for config in configs}
    if not any(found.values()):  # the command line keeps those of all sets together
        found = {"": _trained(context, "train")}
    trained = [model for models in found.values() for model in models]
    missing = [view for view, models in found.items() if not models]
    if not trained:
        raise ReadmissionError("No cumulative set was trained: see the logs of train_cumulative")
    if missing:
        _log.warning("Not trained, and left out: %s", ", ".join(missing))
    ranking = pipeline.aggregate(trained)
    _keep(context, "train", Models(models=ranking))
    return {"models": len(ranking), "missing": missing, "best": _short(ranking[0])}


def _trained(context: Context, stage: str) -> tuple[TrainedModel, ...]:
    try:
        return load(context, stage, Models).models
    except BadInputError:
        return ()


def select(execution: str) -> Answer:
    """Choose the winner."""
    return _short(pipeline.select(load(_context(execution), "train", Models).models))


def evaluate(execution: str) -> Answer:
    """Measure the winner, reloaded, on all of validation and once on test."""
    context = _context(execution)
    ranking = load(context, "train", Models).models
    selection = pipeline.evaluate(context, ranking, pipeline.select(ranking))
    _keep(context, "select", selection)
    return {**_short(selection.best), **{name: selection.metrics[name] for name in ("val_f1_score", "test_f1_score")}}


def publish(execution: str) -> Answer:
    """Register the winner and, if the gate lets it pass, point production at it; then draw the charts."""
    context = _context(execution)
    with _turn(context):
        selection = load(context, "select", Selection)
        publication = _published(context, selection)
        if publication is None:
            assignment = load(context, "split", SplitResult).assignment
            publication = pipeline.publish(context, _dataset(context), assignment, selection)
            save(context, "publish", publication)
            save(context, _PUBLISHED, selection.best)
    draw_report(context)
    return {**publication.model_dump(mode="json"), **_short(selection.best)}


def _published(context: Context, selection: Selection) -> Publication | None:
    """What was decided on this very model: done again, the step must not overrule a rollback since."""
    try:
        model = load(context, _PUBLISHED, TrainedModel)
        return load(context, "publish", Publication) if model.run_id == selection.best.run_id else None
    except BadInputError:
        return None


def follow(patience: float = FOLLOW_SECONDS) -> Answer:
    """Wait until the API serves the version in production: after a refused publish it is the one before, or none.

    Args:
        patience: seconds.

    Raises:
        ReadmissionError: it serves something else, or nothing, for so long.
    """
    settings = load_settings()
    registry = MlflowRest(resolve_services(settings).mlflow_url)
    address = settings.api_url or f"http://127.0.0.1:{settings.api_port}"
    started = time.monotonic()
    while True:
        production = registry.production_version(settings.model_name)
        if production is None:
            return {"version": None, "seconds": 0.0}
        version, found = production.version, _served_version(address)
        if found == version:
            return {"version": version, "seconds": round(time.monotonic() - started, 1)}
        if time.monotonic() - started > patience:
            raise ReadmissionError(
                f"The API at {address} serves version {found}, not {version}, which is in production;"
                f" waited {patience:.0f} s"
            )
        time.sleep(1)


def _served_version(address: str) -> str:
    try:
        answer = httpx.get(f"{address}/ready", timeout=5, trust_env=False)
        return str(answer.json().get("model_version", "nothing"))
    except (httpx.HTTPError, ValueError):
        return "nothing (no answer)"


def _short(model: TrainedModel) -> Answer:
    return {
        "model_type": model.model_type,
        "cumulative_idx": model.cumulative_idx,
        "rows": model.rows,
        "run_id": model.run_id,
        "val_f1_score": model.metrics["val_f1_score"],
    }


def _context(execution: str) -> Context:
    settings = load_settings()
    return Context(settings, resolve_services(settings), execution, _tell)


def _tell(progress: Progress) -> None:
    share = f" ({progress.done:,} of {progress.total:,})" if progress.total else ""
    _log.info("%s%s", progress.what, share)


@contextmanager
def _turn(context: Context) -> Iterator[None]:
    """Hold the lock of the pipeline; wait for it, for another run's step is under way.

    Raises:
        LockHeldError: it takes too long.
    """
    deadline = time.monotonic() + _TURN_SECONDS
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


def _forget(context: Context, stages: str) -> None:
    with connect(context.services.platform_url) as connection:
        platform.forget_results(connection, context.execution, stages)


def _options(given: Mapping[str, Any]) -> Options:
    try:
        return Options.model_validate({name: value for name, value in given.items() if value not in (None, "", [])})
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInputError(f"Parameter {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _chosen(context: Context) -> Options:
    with connect(context.services.platform_url) as connection:
        return Options.model_validate(platform.execution_options(connection, context.execution))


def _dataset(context: Context) -> Dataset:
    return load(context, "download", Dataset)


def _once(context: Context, stage: str, kind: type[BaseModel], work: Callable[[], BaseModel]) -> Answer:
    """Do a step that fills the build, unless that is in place already: then it was done, and stays as it is."""
    if not pipeline.is_in_place(context):
        return _keep(context, stage, work())
    try:
        return load(context, stage, kind).model_dump(mode="json")
    except BadInputError:  # the command line did it, as a part of its stage of that name
        return load(context, stage.partition(" ")[0], kind).model_dump(mode="json")


def _keep(context: Context, stage: str, result: BaseModel) -> Answer:
    save(context, stage, result)
    return result.model_dump(mode="json")
