"""Client of Airflow's REST API: log in, enable a DAG, start it, wait for its end."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx

TIMEOUT = 30.0
ENDED = ("success", "failed")


def log_in(url: str, user: str, password: str) -> str:
    """Get a token.

    Args:
        url: of the API server.
        user, password: what ``make airflow`` prints.

    Raises:
        httpx.HTTPStatusError: the login is refused.
    """
    login = {"username": user, "password": password}
    answer = httpx.post(f"{url}/auth/token", json=login, timeout=TIMEOUT, trust_env=False)
    return str(answer.raise_for_status().json()["access_token"])


class AirflowRest:
    """A session with one token; a new connection for each call, since minutes may pass between calls.

    Args:
        url: of the API server.
        token: of ``log_in``.
    """

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        # One client, since making one takes a while; it keeps no connection open.
        self._client = httpx.Client(
            headers={"Authorization": f"Bearer {token}"},
            timeout=TIMEOUT,
            trust_env=False,
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    def dags(self) -> set[str]:
        """Names of the DAGs that are loaded."""
        return {dag["dag_id"] for dag in self._call("GET", "/api/v2/dags?limit=100")["dags"]}

    def import_errors(self) -> list[str]:
        """DAG files that could not be imported, with the errors."""
        return [found["stack_trace"] for found in self._call("GET", "/api/v2/importErrors")["import_errors"]]

    def enable(self, dag: str) -> None:
        """Enable a DAG."""
        self._call("PATCH", f"/api/v2/dags/{dag}", {"is_paused": False})

    def trigger(self, dag: str, params: Mapping[str, Any]) -> str:
        """Start a run; return its id."""
        body = {"logical_date": None, "conf": dict(params)}
        return str(self._call("POST", f"/api/v2/dags/{dag}/dagRuns", body)["dag_run_id"])

    def run(self, dag: str, run: str) -> dict[str, Any]:
        """State of a run."""
        return self._call("GET", f"/api/v2/dags/{dag}/dagRuns/{run}")

    def runs(self, dag: str) -> list[dict[str, Any]]:
        """All runs of a DAG."""
        found: list[dict[str, Any]] = self._call("GET", f"/api/v2/dags/{dag}/dagRuns?limit=100")["dag_runs"]
        return found

    def tasks(self, dag: str, run: str) -> list[dict[str, Any]]:
        """All task instances of a run."""
        path = f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances?limit=100"
        found: list[dict[str, Any]] = self._call("GET", path)["task_instances"]
        return found

    def answer(self, dag: str, run: str, task: str, map_index: int = -1) -> Any:
        """Return value of a task."""
        path = f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances/{task}/xcomEntries/return_value"
        return self._call("GET", f"{path}?map_index={map_index}")["value"]

    def log(self, dag: str, run: str, task: str, number: int, map_index: int = -1) -> list[dict[str, Any]]:
        """Log of one try of a task, by messages; what it printed has the logger ``task.stdout``."""
        path = f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances/{task}/logs/{number}?map_index={map_index}"
        found: list[dict[str, Any]] = self._call("GET", path)["content"]
        return found

    def asset_events(self, uri: str) -> list[dict[str, Any]]:
        """Events of an asset, oldest first."""
        found: list[dict[str, Any]] = self._call("GET", "/api/v2/assets/events?limit=100&order_by=timestamp")[
            "asset_events"
        ]
        return [event for event in found if event["uri"] == uri]

    def wait(self, dag: str, run: str, patience: float, look: Callable[[], None] = lambda: None) -> dict[str, Any]:
        """Wait for the end of a run; ``look`` is called every second.

        Raises:
            TimeoutError: the run takes longer.
        """
        deadline = time.monotonic() + patience
        while (found := self.run(dag, run))["state"] not in ENDED:
            look()
            if time.monotonic() > deadline:
                states = [(task["task_id"], task["map_index"], task["state"]) for task in self.tasks(dag, run)]
                raise TimeoutError(f"{dag} is {found['state']} after {patience:.0f} s: {states}")
            time.sleep(1)
        return found

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        answer = self._client.request(method, self._url + path, json=body)
        answer.raise_for_status()
        content: dict[str, Any] = answer.json()
        return content
