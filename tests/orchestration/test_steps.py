"""The table of steps: complete, consistent, and what both runners, the command line and the DAGs follow."""

import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args, get_origin, get_type_hints

import pytest
from pydantic import BaseModel
from typer.main import get_command

from readmission.cli.main import app
from readmission.context import Context
from readmission.orchestration.executors import FitExecutor
from readmission.orchestration.steps import (
    OPTIONS,
    STAGES,
    STEPS,
    TASKS,
    Step,
    outdated_by,
    passes_of_stage,
    step_named,
    steps_of_stage,
    steps_of_task,
)
from readmission.results import Options, TrainingConfig

DAGS = Path(__file__).resolve().parents[2] / "dags"
MAPPED_INPUTS = ("configs", "executor")

by_name = pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)


def input_type(name: str) -> object:
    """Type of a parameter that takes the result of this step; of a mapped one the type of its elements."""
    return Options if name == OPTIONS else step_named(name).result_type


def test_names_are_used_once() -> None:
    names = [step.name for step in STEPS]
    assert len(set(names)) == len(names)
    assert OPTIONS not in names


@by_name
def test_inputs_come_from_earlier_steps(step: Step) -> None:
    earlier = [other.name for other in STEPS[: STEPS.index(step)] if other.result is not None]
    assert set(step.inputs) <= {OPTIONS, *earlier}
    assert len(set(step.inputs)) == len(step.inputs)


@by_name
def test_the_function_takes_the_context_and_the_inputs_and_returns_the_result(step: Step) -> None:
    hints = get_type_hints(step.function)
    names = list(inspect.signature(step.function).parameters)
    if step.mapped:
        assert tuple(names[-2:]) == MAPPED_INPUTS
        assert get_args(hints["configs"]) == (TrainingConfig,)
        assert hints["executor"] is FitExecutor
        names = names[:-2]
    assert hints[names[0]] is Context
    found = [get_args(hints[name])[0] if get_origin(hints[name]) else hints[name] for name in names[1:]]
    assert found == [input_type(name) for name in step.inputs]
    several = [bool(get_origin(hints[name])) for name in names[1:]]
    assert several == [name != OPTIONS and step_named(name).mapped for name in step.inputs]
    result = get_args(hints["return"])[1] if step.mapped else hints["return"]
    assert result is (type(None) if step.result is None else step.result_type)


@by_name
def test_results_can_be_stored(step: Step) -> None:
    assert step.result is None or issubclass(step.result_type, BaseModel)
    assert re.fullmatch(step.keys, step.key(3) if step.mapped else step.key())


def test_every_public_function_of_the_modules_is_a_step_or_helps_one() -> None:
    modules = {inspect.getmodule(step.function) for step in STEPS}
    own = {
        name
        for module in modules
        for name, found in inspect.getmembers(module, inspect.isfunction)
        if module is not None and found.__module__ == module.__name__ and not name.startswith("_")
    }
    assert len(modules) == 2
    assert own - {step.name for step in STEPS} == {"data_tags", *(step.joint for step in STEPS if step.joint)}


def test_steps_that_fill_tables_load_no_library_of_models() -> None:
    code = (
        "import sys; from readmission.orchestration.steps import DATA_STAGES, load_functions\n"
        "load_functions(DATA_STAGES)\n"
        "print(sorted({'mlflow', 'sklearn', 'lightgbm', 'scipy', 'pandas'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "[]\n"


def test_a_function_in_one_pass_takes_and_returns_what_its_steps_do() -> None:
    found = [steps for stage in STAGES for steps in passes_of_stage(stage) if len(steps) > 1]
    assert [[step.name for step in steps] for steps in found] == [["store_batches", "store_holdout"]]
    for steps in found:
        (function,) = {step.joint_function for step in steps}
        hints = get_type_hints(function)
        returned = hints.pop("return")
        inputs = dict.fromkeys(name for step in steps for name in step.inputs)
        assert list(hints.values()) == [Context, *map(input_type, inputs)]
        assert get_args(returned) == tuple(step.result_type for step in steps)


def test_stages_and_tasks_cover_all_steps_in_order() -> None:
    assert [step for stage in STAGES for step in steps_of_stage(stage)] == list(STEPS)
    assert [step for task in TASKS for step in steps_of_task(task)] == list(STEPS)
    assert [step for stage in STAGES for steps in passes_of_stage(stage) for step in steps] == list(STEPS)


def test_every_stage_is_a_command_and_the_other_way_round() -> None:
    pipeline = get_command(app).commands["pipeline"]  # type: ignore[attr-defined]
    assert set(pipeline.commands) == {"run", *STAGES}


def test_every_task_is_in_the_master_dag_and_the_other_way_round() -> None:
    assert set(re.findall(r'phases\.TASKS\["(\w+)"\]', (DAGS / "whole.py").read_text())) == set(TASKS)


def test_what_begins_the_execution_is_the_first_step() -> None:
    assert STEPS[0].inputs == (OPTIONS,)
    assert [step.name for step in STEPS if not step.inputs] == []


def test_a_step_that_runs_again_makes_what_was_made_from_it_outdated() -> None:
    def names(step: str) -> list[str]:
        return [later.name for later in outdated_by(step_named(step))]

    assert names("plan") == ["train_cumulative", "aggregate", "select", "evaluate", "report"]
    assert names("train_cumulative") == ["aggregate", "select", "evaluate", "report"]
    assert names("evaluate") == ["report"]
    assert names("store_batches") == []
    assert "publish" not in names("download")
