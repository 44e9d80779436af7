"""A run of a DAG, started and looked at over Airflow's REST API."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from benchmarks.airflow_rest import AirflowRest

PATIENCE = 600.0


@dataclass(frozen=True)
class DagRun:
    """A run that was started.

    Attributes:
        rest: where it runs.
        dag: name of the DAG.
        name: of the run.
    """

    rest: AirflowRest
    dag: str
    name: str

    @cached_property
    def state(self) -> str:
        """How it ended; waits for that."""
        return str(self.rest.wait(self.dag, self.name, PATIENCE)["state"])

    @cached_property
    def tasks(self) -> list[dict[str, Any]]:
        """All tasks, as they were when the run had ended."""
        assert self.state
        return self.rest.tasks(self.dag, self.name)

    @cached_property
    def answers(self) -> dict[str, Any]:
        """What each task returned that succeeded and is not mapped."""
        names = [task["task_id"] for task in self.tasks if task["map_index"] < 0 and task["state"] == "success"]
        return {name: self.rest.answer(self.dag, self.name, name) for name in names}

    def log(self, task_id: str) -> list[dict[str, Any]]:
        """Messages of the last try of a task that is not mapped."""
        (task,) = [found for found in self.tasks if found["task_id"] == task_id]
        return self.rest.log(self.dag, self.name, task_id, task["try_number"])

    def printed(self, task_id: str) -> list[str]:
        """Lines that it printed; they reach the log beside its other messages, and somewhere between them."""
        return [message["event"] for message in self.log(task_id) if message.get("logger") == "task.stdout"]


def start(rest: AirflowRest, dag: str, params: Mapping[str, Any]) -> DagRun:
    """Enable a DAG and start a run of it."""
    rest.enable(dag)
    return DagRun(rest, dag, rest.trigger(dag, params))
