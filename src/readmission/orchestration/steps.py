"""The steps of the pipeline, in one table: command line and Airflow run what is listed here, in this order.

Airflow imports this module whenever it parses the DAGs, so it needs nothing beyond the standard library: functions and
result models are named here, and loaded when they are asked for.
"""

import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import groupby
from typing import Any, Literal

DATA_STAGES = ("download", "split", "store", "clean")
"""Stages whose functions are in ``data_stages``; those of the others are in ``model_stages``."""

OPTIONS = "options"
"""The input that is no step: what the user chose (``results.Options``)."""

Repeat = Literal["anew", "until_in_use", "once_per_winner"]
"""What an Airflow task that runs again does.

``anew``: its work. ``until_in_use``: its work, unless the tables of its execution are those in use; then they were
filled, and the stored result stands. ``once_per_winner``: its work, unless the stored result is about the same model.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step.

    Attributes:
        name: of its function in ``data_stages`` or ``model_stages``, and the key of its result in platform_db.
        stage: command ``readmission pipeline STAGE`` that runs it.
        task: Airflow task that runs it.
        doc: what it does; Airflow shows it at the task.
        inputs: earlier steps, or OPTIONS, whose results the function takes after the context, in this order.
        result: model of the result, as ``pkgutil.resolve_name`` reads it; None where nothing is stored.
        lock: whether its Airflow task holds the pipeline's lock (the command line holds it anyway).
        repeat: what its Airflow task does when it runs again.
        joint: function of the same module that does the work of all neighbouring steps that name it, where
            one runner runs them all. It takes their inputs, each once, and returns a tuple of their results.
        mapped: whether it runs once for each cumulative set. Its function also takes the sets' configurations and an
            executor, and returns a result for each set; the result of set k is stored as ``NAME_k``.
    """

    name: str
    stage: str
    task: str
    doc: str
    inputs: tuple[str, ...] = ()
    result: str | None
    lock: bool = False
    repeat: Repeat = "anew"
    joint: str | None = None
    mapped: bool = False

    @property
    def function(self) -> Callable[..., Any]:
        """The function that does its work."""
        return self._find(self.name)

    @property
    def joint_function(self) -> Callable[..., Any]:
        """The function that does its work where one runner runs it and its neighbours."""
        return self._find(self.joint or self.name)

    def _find(self, name: str) -> Callable[..., Any]:
        module = "data_stages" if self.stage in DATA_STAGES else "model_stages"
        found: Callable[..., Any] = getattr(import_module(f"{__package__}.{module}"), name)
        return found

    @property
    def result_type(self) -> Any:
        """The pydantic model of its result; None where it has none."""
        return None if self.result is None else pkgutil.resolve_name(self.result)

    def key(self, cumulative_idx: int | None = None) -> str:
        """Name its result in platform_db: of one cumulative set, where it is mapped."""
        return self.name if cumulative_idx is None else f"{self.name}_{cumulative_idx}"

    @property
    def keys(self) -> str:
        """Regular expression of all keys under which its results are stored."""
        return f"{self.name}_[0-9]+" if self.mapped else self.name


STEPS = (
    Step(
        name="download",
        stage="download",
        task="download_diabetes_dataset",
        doc="Get, verify and keep the data file.",
        inputs=(OPTIONS,),
        result="readmission.dataset.source_file:Dataset",
        lock=True,
        repeat="until_in_use",
    ),
    Step(
        name="split",
        stage="split",
        task="split_train_val_test",
        doc="70 % training, 15 % validation, 15 % test, no patient in two of them; training rows in batches.",
        inputs=("download", OPTIONS),
        result="readmission.results:SplitResult",
        lock=True,
        repeat="until_in_use",
    ),
    Step(
        name="store_batches",
        stage="store",
        task="create_batch_tables",
        doc="A table for each batch.",
        inputs=("download", "split"),
        result="readmission.results:StoreResult",
        repeat="until_in_use",
        joint="store_rows",
    ),
    Step(
        name="store_holdout",
        stage="store",
        task="store_validation_test",
        doc="The validation and test rows.",
        inputs=("download",),
        result="readmission.results:StoreResult",
        repeat="until_in_use",
        joint="store_rows",
    ),
    Step(
        name="store_views",
        stage="store",
        task="create_cumulative_views",
        doc="A view for each cumulative set: batch 0, batches 0 to 1, and so on.",
        inputs=("split",),
        result="readmission.results:StoreResult",
        repeat="until_in_use",
    ),
    Step(
        name="clean",
        stage="clean",
        task="clean_data",
        doc="Clean tables; then the new set takes the old one's place.",
        inputs=("split", OPTIONS),
        result="readmission.results:CleanResult",
        lock=True,
    ),
    Step(
        name="plan",
        stage="plan",
        task="generate_training_configs",
        doc="List the cumulative sets that were stored, the largest first.",
        inputs=("download", OPTIONS),
        result="readmission.results:Plan",
    ),
    Step(
        name="train_cumulative",
        stage="train",
        task="train_cumulative",
        doc="The models of one cumulative set, one after the other.",
        inputs=("download", "plan"),
        result="readmission.results:Models",
        mapped=True,
    ),
    Step(
        name="aggregate",
        stage="train",
        task="aggregate_results",
        doc="Rank the models of all sets that are complete; at least one must be.",
        inputs=("plan", "train_cumulative"),
        result="readmission.results:Ranking",
    ),
    Step(
        name="select",
        stage="select",
        task="select_best_model",
        doc="The highest validation F1, ROC-AUC as tie-breaker.",
        inputs=("aggregate",),
        result="readmission.results:TrainedModel",
    ),
    Step(
        name="evaluate",
        stage="select",
        task="evaluate_on_full_validation",
        doc="The winner, reloaded from MLflow, on all of validation and once on test.",
        inputs=("aggregate", "select"),
        result="readmission.results:Selection",
    ),
    Step(
        name="publish",
        stage="publish",
        task="publish_best_model_production",
        doc="Register the winner and, if the gate lets it pass, point production at it.",
        inputs=("download", "split", "plan", "evaluate"),
        result="readmission.results:Publication",
        lock=True,
        repeat="once_per_winner",
    ),
    Step(
        name="report",
        stage="publish",
        task="publish_best_model_production",
        doc="Draw the charts and write the model card, unless they are left out.",
        inputs=("download", "plan", "evaluate", "publish", OPTIONS),
        result=None,
    ),
)

STAGES = tuple(dict.fromkeys(step.stage for step in STEPS))
"""Stages of the command line, in their order."""

TASKS = tuple(dict.fromkeys(step.task for step in STEPS))
"""Tasks of Airflow, in their order."""


def load_functions(stages: Sequence[str] = STAGES) -> None:
    """Import the functions of some stages now; those from ``plan`` on load MLflow, scikit-learn and more."""
    for step in STEPS:
        if step.stage in stages:
            _ = step.function


def step_named(name: str) -> Step:
    """Find a step by its name."""
    (found,) = (step for step in STEPS if step.name == name)
    return found


def steps_of_stage(stage: str) -> tuple[Step, ...]:
    """The steps of a stage of the command line, in their order."""
    return tuple(step for step in STEPS if step.stage == stage)


def passes_of_stage(stage: str) -> tuple[tuple[Step, ...], ...]:
    """The same, those together that one function can do in one pass."""
    return tuple(tuple(steps) for _, steps in groupby(steps_of_stage(stage), lambda step: step.joint or step.name))


def steps_of_task(task: str) -> tuple[Step, ...]:
    """The steps of an Airflow task, in their order."""
    return tuple(step for step in STEPS if step.task == task)


def outdated_by(step: Step) -> tuple[Step, ...]:
    """The steps whose stored results no longer hold once a step runs again.

    These are all that take its result, directly or by way of others; not those whose stored result may stand.
    """
    reached = {step.name}
    for later in STEPS:
        if reached.intersection(later.inputs):
            reached.add(later.name)
    return tuple(later for later in STEPS if later.name in reached and later is not step and later.repeat == "anew")
