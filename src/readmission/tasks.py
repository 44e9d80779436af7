"""What an orchestrator calls: one step of an execution each, on whatever host, found by the execution's name.

Between steps nothing passes but that name: results are kept in platform_db, rows in tables, the file in S3. So a step
can be done again, and gives the same result again. Answers are small and plain, as orchestrators pass them on.
"""

import hashlib
import logging
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx
from pydantic import BaseModel, ValidationError

from readmission import pipeline
from readmission.context import Context, Progress
from readmission.dataset.model import Dataset
from readmission.errors import BadInputError, ReadmissionError
from readmission.results import (
    Models,
    Options,
    Plan,
    Selection,
    SplitResult,
    StoreResult,
    TrainedModel,
    TrainingConfig,
)
from readmission.runner import begin, draw_report, load, pipeline_lock, save
from readmission.services import resolve_services
from readmission.serving.mlflow_rest import MlflowRest
from readmission.settings import load_settings
from readmission.warehouse import platform
from readmission.warehouse.connection import connect

Answer = dict[str, Any]

_log = logging.getLogger(__name__)

FOLLOW_SECONDS = 120.0
"""The API looks for a new version every few seconds; then it fetches and checks it."""

_SET = "train {}"
"""The stage under which the models of one cumulative set are kept."""


def execution_name(dag: str, run: str) -> str:
    """Name the execution of an orchestrator's run: the same run has the same execution, whichever step asks.

    Args:
        dag: name of the DAG.
        run: what the orchestrator calls its run, such as ``manual__2026-11-26T05:00:00+00:00``.
    """
    # The name is part of a schema's name: short, of few characters, and still no two alike.
    mark = hashlib.sha256(f"{dag} {run}".encode()).hexdigest()[:8]
    return f"{re.sub(r'[^a-z0-9]+', '_', run.lower()).strip('_')[:36]}_{mark}"


def latest_execution() -> str:
    """Name the execution that began last."""
    with connect(_context("").services.platform_url) as connection:
        return platform.latest_execution(connection)


def download(execution: str, options: Mapping[str, Any]) -> Answer:
    """Begin the execution, and get the data file."""
    context, chosen = _context(execution), _options(options)
    platform.create_tables(context.services.platform_url)
    with pipeline_lock(context):
        begin(context, chosen)
        return _keep(context, "download", pipeline.download(context, chosen))


def split(execution: str) -> Answer:
    """Give rows their part and their batch."""
    context = _context(execution)
    with pipeline_lock(context):
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
    with pipeline_lock(context):
        batches = load(context, "split", SplitResult).batches
        return _keep(context, "clean", pipeline.clean(context, batches, _chosen(context)))


def plan_training(execution: str) -> list[Answer]:
    """List the cumulative sets, the largest first: the longest work begins first."""
    context = _context(execution)
    plan = pipeline.plan_training(context, _dataset(context), _chosen(context))
    _keep(context, "plan", plan)
    return [config.model_dump() for config in reversed(plan.configs)]


def train(execution: str, config: Mapping[str, Any]) -> Answer:
    """Train every type on one cumulative set; answer the F1 of each."""
    context, chosen = _context(execution), TrainingConfig.model_validate(config)
    models = pipeline.train(context, _dataset(context), load(context, "plan", Plan), chosen)
    _keep(context, _SET.format(chosen.cumulative_idx), Models(models=tuple(models)))
    return {"view": chosen.view, **{model.model_type: model.metrics["val_f1_score"] for model in models}}


def aggregate(execution: str) -> Answer:
    """Rank all models of the sets that are complete, and name those that are not."""
    context = _context(execution)
    trained: list[TrainedModel] = []
    missing: list[str] = []
    for config in load(context, "plan", Plan).configs:
        try:
            trained += load(context, _SET.format(config.cumulative_idx), Models).models
        except BadInputError:
            missing.append(config.view)
    if not trained:
        raise ReadmissionError("No cumulative set was trained: see the logs of train_cumulative")
    ranking = pipeline.aggregate(trained)
    _keep(context, "train", Models(models=ranking))
    return {"models": len(ranking), "missing": missing, "best": _short(ranking[0])}


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
    with pipeline_lock(context):
        selection = load(context, "select", Selection)
        assignment = load(context, "split", SplitResult).assignment
        publication = pipeline.publish(context, _dataset(context), assignment, selection)
        _keep(context, "publish", publication)
    draw_report(context)
    return {**publication.model_dump(mode="json"), **_short(selection.best)}


def follow(patience: float = FOLLOW_SECONDS) -> Answer:
    """Wait until the API serves the version in production: after a refused publish it is the one before.

    Args:
        patience: seconds.

    Raises:
        ReadmissionError: it serves something else, or nothing, for so long.
    """
    settings = load_settings()
    production = MlflowRest(resolve_services(settings).mlflow_url).production_version(settings.model_name)
    if production is None:
        raise ReadmissionError(f"No version of {settings.model_name} is in production: publish one first")
    version = production.version
    address = settings.api_url or f"http://127.0.0.1:{settings.api_port}"
    started, found = time.monotonic(), "nothing"
    while time.monotonic() - started < patience:
        found = _served_version(address)
        if found == version:
            return {"version": version, "seconds": round(time.monotonic() - started, 1)}
        time.sleep(1)
    raise ReadmissionError(
        f"The API at {address} serves version {found}, not {version}, which is in production; waited {patience:.0f} s"
    )


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
    _log.info("%s", progress.what)


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
    if pipeline.is_in_place(context):
        return load(context, stage, kind).model_dump(mode="json")
    return _keep(context, stage, work())


def _keep(context: Context, stage: str, result: BaseModel) -> Answer:
    save(context, stage, result)
    return result.model_dump(mode="json")
