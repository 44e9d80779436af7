"""One execution of the pipeline: begin it, hold its lock, run its steps, read the results that they stored."""

import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from psycopg import Connection
from psycopg.rows import TupleRow
from pydantic import BaseModel

from readmission.context import Context
from readmission.dataset.sources import parse_source
from readmission.errors import BadInputError
from readmission.orchestration.steps import OPTIONS, Step, outdated_by, step_named
from readmission.results import Options
from readmission.warehouse.connection import connect
from readmission.warehouse.metadata import executions
from readmission.warehouse.metadata.run_lock import run_lock

Result = TypeVar("Result", bound=BaseModel)
Call = Callable[..., Any]
"""Calls a step's function, given as its first argument, with the others; may add some, or call it elsewhere."""


@contextmanager
def pipeline_lock(context: Context) -> Iterator[None]:
    """Hold the lock of the pipeline, and first finish what a killed run left half done.

    Raises:
        LockHeldError: another run holds it.
    """
    from readmission.registry.promotion import finish_promotions  # loads MLflow, which takes seconds
    from readmission.warehouse.swap import finish_swaps

    with run_lock(context.services.platform_url, f"process {os.getpid()} on {socket.gethostname()}"):
        finish_swaps(context.services)
        finish_promotions(context.services)
        yield


def begin(context: Context, options: Options) -> None:
    """Register the execution with its options, so that later steps know them; of the data source only its label.

    No later step reads the source again, and an address may hold a login.
    """
    label = None if options.data is None else parse_source(options.data).label
    kept = options.model_copy(update={"data": label}).model_dump(mode="json")
    with connect(context.services.platform_url) as connection:
        executions.begin_execution(connection, context.execution, kept)


def stored_options(context: Context) -> Options:
    """Read the options that the execution began with."""
    with connect(context.services.platform_url) as connection:
        return Options.model_validate(executions.execution_options(connection, context.execution))


def call_here(function: Callable[..., Any], *arguments: object) -> Any:
    """Call a step's function in this process."""
    return function(*arguments)


def run_step(
    step: Step, context: Context, options: Options, call: Call = call_here, cumulative_idx: int | None = None
) -> Any:
    """Run one step: load its inputs, call its function, store its result.

    Results that it makes outdated are deleted first: what an earlier try left must not be taken for that of this one.

    Args:
        step: from the table.
        context: of the execution.
        options: the user's.
        call: how its function is called.
        cumulative_idx: the set, where a mapped step runs for one set alone.

    Raises:
        BadInputError: a step whose result it takes has not run.
    """
    own = step.keys if cumulative_idx is None else step.key(cumulative_idx)
    result = call(step.function, context, *_inputs(context, options, step.inputs, [own, *_outdated(step)]))
    _store(context, step, result)
    return result


def run_in_one_pass(steps: Sequence[Step], context: Context, options: Options) -> tuple[Any, ...]:
    """Run neighbouring steps by their ``joint`` function; otherwise as ``run_step`` does."""
    (function,) = {step.joint_function for step in steps}
    inputs = tuple(dict.fromkeys(name for step in steps for name in step.inputs))
    outdated = [keys for step in steps for keys in (step.keys, *_outdated(step))]
    results = function(context, *_inputs(context, options, inputs, outdated))
    for step, result in zip(steps, results, strict=True):
        _store(context, step, result)
    return tuple(results)


def _outdated(step: Step) -> list[str]:
    return [later.keys for later in outdated_by(step)]


def _inputs(context: Context, options: Options, names: Sequence[str], outdated: Sequence[str]) -> list[Any]:
    """Load inputs, and delete the results that are about to be outdated."""
    with connect(context.services.platform_url) as connection:
        inputs = [options if name == OPTIONS else _input(connection, context, name) for name in names]
        executions.forget_results(connection, context.execution, "|".join(outdated))
    return inputs


def _store(context: Context, step: Step, result: Any) -> None:
    results: Mapping[str, BaseModel] = {}
    if step.mapped:
        results = {step.key(cumulative_idx): one for cumulative_idx, one in result.items()}
    elif step.result is not None:
        results = {step.name: result}
    with connect(context.services.platform_url) as connection:
        for key, one in results.items():
            executions.save_result(connection, context.execution, key, one.model_dump(mode="json"))


def _input(connection: Connection[TupleRow], context: Context, name: str) -> Any:
    """Read the result of an earlier step; of a mapped one those of all sets that are complete."""
    step = step_named(name)
    found = executions.load_results(connection, context.execution, step.keys)
    results = tuple(step.result_type.model_validate(found[key]) for key in sorted(found))
    if step.mapped:
        return results
    if not results:
        raise BadInputError(
            f"Step {name} has not run in execution {context.execution}: run `readmission pipeline {step.stage}` first"
        )
    return results[0]


def load(context: Context, name: str, kind: type[Result]) -> Result:
    """Read the result of a step that is not mapped.

    Raises:
        BadInputError: it has not run.
    """
    with connect(context.services.platform_url) as connection:
        result = _input(connection, context, name)
    if not isinstance(result, kind):
        raise TypeError(f"{name} results in {type(result).__name__}, not {kind.__name__}")
    return result


def find(context: Context, step: Step) -> Any:
    """Read the result of a step that is not mapped; None where it has not run."""
    with connect(context.services.platform_url) as connection:
        found = executions.load_results(connection, context.execution, step.name)
    return step.result_type.model_validate(found[step.name]) if found else None
