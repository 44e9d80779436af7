"""What the DAGs share: their tasks, assets, the forms of the trigger dialog, and which execution a run belongs to.

Every task is one call into ``readmission.orchestration.tasks``, imported when it runs: parsing these files loads
nothing but Airflow.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from airflow.sdk import Asset, Param, TriggerRule, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

DATA = Asset("readmission_data", "readmission://pipeline/data")
ASSIGNMENT = Asset("readmission_assignment", "readmission://pipeline/assignment")
BATCHES = Asset("readmission_batches", "readmission://pipeline/batches")
CLEAN = Asset("readmission_clean", "readmission://pipeline/clean")
MODELS = Asset("readmission_models", "readmission://pipeline/models")
SELECTION = Asset("readmission_selection", "readmission://pipeline/selection")
PRODUCTION = Asset("readmission_production", "readmission://pipeline/production")
DRIFT = Asset("readmission_drift", "readmission://pipeline/drift")

ARGUMENTS: dict[str, Any] = {
    "owner": "readmission",
    "retries": 2,
    "retry_delay": timedelta(seconds=10),
    "execution_timeout": timedelta(hours=2),
}
COMMON: dict[str, Any] = {
    "catchup": False,
    "max_active_runs": 1,
    "default_args": ARGUMENTS,
    "tags": ["readmission"],
}
"""What all DAGs have in common."""

_POD_TEMPLATE = os.environ.get("READMISSION_TRAINING_POD_TEMPLATE")
TRAINING: dict[str, Any] = {
    "queue": os.environ.get("READMISSION_TRAINING_QUEUE", "default"),
    "executor_config": {"pod_template_file": _POD_TEMPLATE} if _POD_TEMPLATE else {},
}
"""Where sets are trained: a queue of Celery's workers, a template of Kubernetes' pods; elsewhere without effect."""

RUN_PARAMS = {
    "data": Param(
        None,
        type=["null", "string"],
        title="Data source",
        description="A path, URL, gdrive://FILE_ID, s3://bucket/key or synthetic:ROWS; empty: the setting, else UCI."
        " Airflow keeps and shows what stands here: no password",
    ),
    "batches": Param(
        None, type=["null", "integer"], minimum=1, title="Batches", description="Wins over rows per batch"
    ),
    "batch_size": Param(15_000, type="integer", minimum=1, title="Rows per batch"),
    "split": Param("patient", type="string", enum=["patient", "encounter"], title="What stays in one part"),
    "seed": Param(
        None,
        type=["null", "integer"],
        minimum=0,
        title="Seed",
        description="A fresh split for an experiment; empty: known patients keep their part",
    ),
}
EXECUTION_PARAM = {
    "execution": Param(
        None,
        type=["null", "string"],
        title="Execution",
        description="Empty: that of the asset that started this run, else the latest",
    )
}


def execution() -> str:
    """Name the execution that this run works on."""
    from readmission.orchestration import tasks

    context: Any = get_current_context()
    params = context["params"]
    if "execution" not in params:  # a DAG that begins one
        return tasks.execution_name(context["dag"].dag_id, context["run_id"])
    if params["execution"]:
        return str(params["execution"])
    events = [event for found in (context.get("triggering_asset_events") or {}).values() for event in found]
    names = [event.extra.get("execution") for event in sorted(events, key=lambda event: event.timestamp)]
    # Without an event, or with one that was made by hand: the same for every task of this run, whenever it runs.
    return next((str(name) for name in reversed(names) if name), None) or tasks.latest_execution(
        context["dag_run"].run_after
    )


@contextmanager
def mistakes() -> Iterator[None]:
    """What a user did wrong is wrong the next time too: such a task is not tried again."""
    from readmission.errors import BadInputError

    try:
        yield
    except BadInputError as error:
        raise AirflowFailException(str(error)) from None


def step(work: Callable[[Any, str], Any]) -> Any:
    """Do one step of the execution, and tell whoever waits for the task's assets what came out."""
    from readmission.orchestration import tasks

    with mistakes():
        name = execution()
        answer = work(tasks, name)
    context: Any = get_current_context()
    for asset in context["task"].outlets:
        context["outlet_events"][asset].extra = {"execution": name, **answer}
    return answer


@task
def download_diabetes_dataset() -> dict[str, Any]:
    """Get, verify and keep the data file."""
    params: Any = get_current_context()["params"]
    options = {name: params[name] for name in RUN_PARAMS}
    return step(lambda tasks, name: tasks.download(name, options))


@task
def split_train_val_test() -> dict[str, Any]:
    """70 % training, 15 % validation, 15 % test, no patient in two of them; training rows in batches."""
    return step(lambda tasks, name: tasks.split(name))


@task
def create_batch_tables() -> dict[str, Any]:
    """A table for each batch."""
    return step(lambda tasks, name: tasks.create_batch_tables(name))


@task
def create_cumulative_views() -> dict[str, Any]:
    """A view for each cumulative set: batch 0, batches 0 to 1, and so on."""
    return step(lambda tasks, name: tasks.create_cumulative_views(name))


@task
def store_validation_test() -> dict[str, Any]:
    """The rows held out."""
    return step(lambda tasks, name: tasks.store_validation_test(name))


@task
def clean_data() -> dict[str, Any]:
    """Clean tables; then the new set takes the old one's place."""
    return step(lambda tasks, name: tasks.clean(name))


@task
def generate_training_configs() -> list[dict[str, Any]]:
    """List the cumulative sets that were stored, the largest first."""
    from readmission.orchestration import tasks

    with mistakes():
        configs = tasks.plan_training(execution())
    print("Generating Training Configurations")
    print(f"Number of cumulative datasets: {len(configs)}")
    for config in reversed(configs):
        print(f"  Config {config['cumulative_idx']}: {config['rows']} records ({config['view']})")
    return configs


@task(map_index_template="{{ view }}", doc_md="Four models of one cumulative set, one after the other.", **TRAINING)
def train_cumulative(config: dict[str, Any]) -> dict[str, Any]:
    """Four models of one cumulative set, one after the other."""
    context: Any = get_current_context()
    context["view"] = config["view"]
    return step(lambda tasks, name: tasks.train(name, config))


@task(trigger_rule=TriggerRule.ALL_DONE_MIN_ONE_SUCCESS)
def aggregate_results() -> dict[str, Any]:
    """Rank the models of all sets that are complete; at least one must be."""
    return step(lambda tasks, name: tasks.aggregate(name))


@task
def select_best_model() -> dict[str, Any]:
    """The highest validation F1, ROC-AUC as tie-breaker."""
    return step(lambda tasks, name: tasks.select(name))


@task
def evaluate_on_full_validation() -> dict[str, Any]:
    """The winner, reloaded from MLflow, on all of validation and once on test."""
    return step(lambda tasks, name: tasks.evaluate(name))


@task
def publish_best_model_production() -> dict[str, Any]:
    """Register the winner and, if the gate lets it pass, point production at it."""
    return step(lambda tasks, name: tasks.publish(name))
