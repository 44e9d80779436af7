"""Compare the master DAG with the command line: ``make bench-airflow``. Prints one JSON object as its last line.

Both train 20 models (5 sets) of the real file on their own stack, in a temporary folder on free ports. The command line
runs before and after the DAG, since a machine's speed varies. The time of the DAG is from the start of its run to the
end of its last task; the time of the command line is that of the whole command.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import psutil

from benchmarks.airflow_rest import AirflowRest, log_in
from benchmarks.pipeline import PORTS, environment_of, free_ports, say
from readmission.local.airflow import USER, LocalAirflow, ensure_secrets
from readmission.local.stack import LocalStack
from readmission.settings import Settings, load_settings

MASTER = "dag_00b_master_cumulative_pipeline"
BATCHES = 5
PATIENCE = 3_600.0
_LOAD_SECONDS = 120.0


def command_seconds(settings: Settings, data: str) -> float:
    """Seconds of the command line, run as a user would."""
    command = [sys.executable, "-m", "readmission", "pipeline", "run", "--data", data, "--batches", str(BATCHES)]
    started = time.perf_counter()
    done = subprocess.run(command, env=environment_of(settings), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"the pipeline failed: {done.stderr[-2000:]}")
    return time.perf_counter() - started


def dag_seconds(settings: Settings, data: str) -> tuple[float, dict[str, float]]:
    """Seconds of one run of the master DAG, and of each task; mapped tasks are summed."""
    with LocalAirflow(settings, say) as airflow:
        url = airflow.addresses()["Airflow"]
        rest = AirflowRest(url, log_in(url, USER, ensure_secrets(settings)["login"]))
        deadline = time.monotonic() + _LOAD_SECONDS
        while MASTER not in rest.dags():
            if time.monotonic() > deadline:
                sys.exit(f"{MASTER} is not loaded: {rest.import_errors()}")
            time.sleep(1)
        rest.enable(MASTER)
        run = rest.trigger(MASTER, {"data": data, "batches": BATCHES})
        ended = rest.wait(MASTER, run, PATIENCE)
        if ended["state"] != "success":
            sys.exit(f"{MASTER} ended as {ended['state']}: {rest.tasks(MASTER, run)}")
        tasks: dict[str, float] = {}
        for task in rest.tasks(MASTER, run):
            tasks[task["task_id"]] = round(tasks.get(task["task_id"], 0.0) + task["duration"], 1)
        return _seconds(ended), tasks


def _seconds(run: dict) -> float:
    start, end = (datetime.fromisoformat(run[name]) for name in ("start_date", "end_date"))
    return (end - start).total_seconds()


def measure(data: str) -> dict:
    """Measure both on their own stack."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        names = (*PORTS, "airflow_port")
        settings = load_settings(home=Path(folder) / "home", **dict(zip(names, free_ports(len(names)), strict=True)))
        with LocalStack(settings, say):
            say("the command line")
            before = command_seconds(settings, data)
            say(f"{before:.0f} s; the master DAG")
            dag, tasks = dag_seconds(settings, data)
            say(f"{dag:.0f} s; the command line again")
            after = command_seconds(settings, data)
    return {
        "airflow_ratio": round(dag / ((before + after) / 2), 2),
        "dag_s": round(dag, 1),
        "command_s": [round(before, 1), round(after, 1)],
        "task_s": tasks,
        "machine": f"{os.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB, {platform.machine()}",
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--data", default=os.environ.get("READMISSION_DATA"), help="path of the data, or synthetic:ROWS"
    )
    data = parser.parse_args().data
    if not data:
        sys.exit("Set READMISSION_DATA to the CSV or zip file of the real data, or give --data")
    print(json.dumps(measure(data)))


if __name__ == "__main__":
    main()
