"""What the DAGs share: their tasks, assets, the forms of the trigger dialog, and which execution a run belongs to.

Tasks are made from the table of steps. Each is one call into ``readmission.orchestration.tasks``, imported when it
runs: parsing these files loads Airflow and that table alone.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from airflow.sdk import Asset, Param, TriggerRule, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from readmission.orchestration.steps import TASKS as STEP_TASKS
from readmission.orchestration.steps import steps_of_task

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
    "no_report": Param(
        False, type="boolean", title="No report", description="Draw no charts and write no model card after publishing"
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
    # Without an event, or with one made by hand, every task of this run must find the same one, whenever it runs.
    return next((str(name) for name in reversed(names) if name), None) or tasks.latest_execution(
        context["dag_run"].run_after
    )


@contextmanager
def no_retry_of_bad_input() -> Iterator[None]:
    """Fail for good where the user's input is wrong, for it will be wrong the next time too."""
    from readmission.errors import BadInputError

    try:
        yield
    except BadInputError as error:
        raise AirflowFailException(str(error)) from None


def run_task(**arguments: Any) -> Any:
    """Run the steps of the task that calls this, and attach their figures to the events of its assets.

    Args:
        arguments: further ones for ``orchestration.tasks.run_task``.
    """
    from readmission.orchestration import tasks

    context: Any = get_current_context()
    with no_retry_of_bad_input():
        name = execution()
        answer = tasks.run_task(context["task"].task_id, name, **arguments)
    for asset in context["task"].outlets:
        context["outlet_events"][asset].extra = {"execution": name, **answer}
    return answer


def begin() -> dict[str, Any]:
    """Run the task that begins an execution, with what was chosen in the trigger dialog."""
    params: Any = get_current_context()["params"]
    return dict(run_task(options={name: params[name] for name in RUN_PARAMS}))


def run() -> dict[str, Any]:
    """Run any other task."""
    return dict(run_task())


def list_sets() -> list[dict[str, Any]]:
    """Run the task that lists the cumulative sets, and print them."""
    configs: list[dict[str, Any]] = run_task()
    print("Generating Training Configurations")
    print(f"Number of cumulative datasets: {len(configs)}")
    for config in reversed(configs):
        print(f"  Config {config['cumulative_idx']}: {config['rows']} records ({config['view']})")
    return configs


def train(config: dict[str, Any]) -> dict[str, Any]:
    """Run the task of one cumulative set, shown under the name of its view."""
    context: Any = get_current_context()
    context["view"] = config["view"]
    return dict(run_task(config=config))


BODIES: dict[str, Callable[..., Any]] = {
    "download_diabetes_dataset": begin,
    "generate_training_configs": list_sets,
    "train_cumulative": train,
}
"""What tasks do beyond running their steps."""

ARGUMENTS_OF: dict[str, dict[str, Any]] = {
    "train_cumulative": {"map_index_template": "{{ view }}", **TRAINING},
    "aggregate_results": {"trigger_rule": TriggerRule.ALL_DONE_MIN_ONE_SUCCESS},
}
"""What is set for one task alone; sets that fail do not keep the others from being ranked."""


def make_task(name: str) -> Any:
    """Make the task of this name from the table of steps."""
    doc = steps_of_task(name)[0].doc
    return task(task_id=name, doc_md=doc, **ARGUMENTS_OF.get(name, {}))(BODIES.get(name, run))


TASKS: dict[str, Any] = {name: make_task(name) for name in STEP_TASKS}
"""All tasks by their names; call one within a DAG to add it."""
