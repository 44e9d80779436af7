"""Measure the pipeline against bare fits: ``make bench-pipeline``. Prints one JSON object as its last line.

Everything runs on its own local stack, in a temporary folder on free ports. The real file is read from
READMISSION_DATA, else downloaded from UCI. ``--parts`` selects what to measure: ``real`` (the real file), ``speedup``
(against scikit-learn's boosted trees), ``scaling`` (a million synthetic rows).
"""

import argparse
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean

import httpx
import psutil
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from benchmarks.memory import PeakMemory
from readmission.context import Context
from readmission.dataset.acquire import acquire, open_dataset
from readmission.dataset.source_file import Dataset, silent
from readmission.local.postgres import binary
from readmission.local.stack import LocalStack
from readmission.orchestration import data_stages as pipeline
from readmission.results import Options
from readmission.schema import COLUMN_NAMES
from readmission.services import Services, resolve_services
from readmission.settings import Settings, load_settings

BATCHES = 7
MEASURED = ("split", "store", "clean", "plan", "train", "select", "publish")
"""The measured stages; not the download before them and the charts after them."""

PORTS = (
    "postgres_port",
    "s3_port",
    "s3_admin_port",
    "s3_master_port",
    "s3_volume_port",
    "s3_filer_port",
    "mlflow_port",
    "api_port",
)
INNER_OFFSET = 10_000
START_PATIENCE = 120.0
PARTS = ("real", "speedup", "scaling")


def free_ports(count: int) -> list[int]:
    """Find ports that are free, as is the port 10,000 higher."""
    found = [port for port in range(12_000, 20_000, 7) if _is_free(port) and _is_free(port + INNER_OFFSET)]
    return found[:count]


def _is_free(port: int) -> bool:
    with socket.socket() as candidate:
        return candidate.connect_ex(("127.0.0.1", port)) != 0


def run_pipeline(settings: Settings, data: str, pids: list[int]) -> tuple[dict, float]:
    """Run the command line as a user would; return its summary and its peak memory with that of the stack, in MiB."""
    command = [sys.executable, "-m", "readmission", "pipeline", "run"]
    command += ["--data", data, "--batches", str(BATCHES), "--json"]
    process = subprocess.Popen(
        command, env=environment_of(settings), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with PeakMemory(process.pid, *pids) as memory:
        output, errors = process.communicate()
    if process.returncode:
        sys.exit(f"the pipeline failed: {errors[-2000:]}")
    return json.loads(output.splitlines()[-1]), memory.peak


def environment_of(settings: Settings) -> dict[str, str]:
    """The environment of a command line that uses this stack."""
    names = {name: str(getattr(settings, name)) for name in (*PORTS, "home")}
    return {**os.environ, **{f"READMISSION_{name.upper()}": value for name, value in names.items()}}


def run_bare(path: Path, workers: int, threads: int, boosting: str = "ours") -> float:
    """Run the bare grid in its own process; return its seconds."""
    command = [sys.executable, "-m", "benchmarks.bare_grid", str(path), "--batches", str(BATCHES)]
    command += ["--workers", str(workers), "--threads", str(threads), "--boosting", boosting]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(json.loads(output.splitlines()[-1])["seconds"])


def cost(summary: dict) -> float:
    """Seconds from ``split`` to ``publish``."""
    return sum(summary["stages"][stage] for stage in MEASURED)


def psql_copy_seconds(services: Services, path: Path) -> float:
    r"""Seconds of ``psql \copy`` of the file into one new table, in one transaction, frozen: the fastest of five."""
    columns = ", ".join(f'"{name}" text NOT NULL' for name in COLUMN_NAMES)
    script = (
        "BEGIN; "
        f"CREATE TABLE copy_baseline ({columns});\n"
        f"\\copy copy_baseline FROM '{path}' WITH (FORMAT csv, HEADER, FREEZE)\n"
        "COMMIT;\n"
    )
    login = conninfo_to_dict(services.raw_url.get_secret_value())
    environment = {**os.environ, "PGPASSWORD": str(login.pop("password"))}
    command = [str(binary("psql")), "-q", "-v", "ON_ERROR_STOP=1", make_conninfo(**login)]
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        subprocess.run(command, input=script, text=True, check=True, capture_output=True, env=environment)
        seconds.append(time.perf_counter() - started)
        subprocess.run([*command, "-c", "DROP TABLE copy_baseline"], check=True, capture_output=True, env=environment)
    return min(seconds)


def store_seconds(settings: Settings, services: Services, dataset: Dataset) -> float:
    """Seconds of the stage ``store``, measured like ``psql``: the fastest of five."""
    context = Context(settings, services, "bench")
    seconds = []
    for _ in range(5):
        split = pipeline.split(context, dataset, Options(batches=BATCHES))  # starts an empty build, as in every run
        started = time.perf_counter()
        pipeline.store_rows(context, dataset, split)
        pipeline.store_views(context, split)
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def measure(parts: list[str]) -> dict:
    """Measure the selected parts on their own stack."""
    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        settings = load_settings(home=Path(folder) / "home", **ports)
        started = time.perf_counter()
        with LocalStack(settings, say) as stack:
            result: dict = {"cold_start_s": round(time.perf_counter() - started, 1)}
            services = resolve_services(settings)
            pids = [child.pid for child in stack.children.values()]
            dataset = acquire(settings, services, None, silent)
            if "real" in parts:
                result.update(real_file(settings, services, dataset, pids, cores))
            if "speedup" in parts:
                result.update(speedup(open_dataset(settings, services, dataset), result, cores))
            if "scaling" in parts:
                workers, threads = result.get("bare_workers", cores), result.get("bare_threads", 1)
                result.update(scaling(settings, services, pids, workers, threads))
        if "real" in parts:
            say("starting everything with a model in production")
            result["second_start_s"] = second_start(settings)
    return {
        **result,
        "machine": f"{cores} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB, {platform.machine()}",
    }


def speedup(path: Path, result: dict, cores: int) -> dict:
    """Compare the grid with scikit-learn's boosted trees (single-threaded) with the one with LightGBM."""
    ours = result.get("bare_s") or run_bare(path, cores, 1)
    say("the grid with scikit-learn's gradient boosting")
    theirs = run_bare(path, cores, 1, "sklearn")
    return {"sklearn_grid_s": round(theirs, 1), "bare_s": ours, "speedup": round(theirs / ours, 2)}


def second_start(settings: Settings) -> float:
    """Seconds from ``readmission run`` to the first prediction, with the model cached on disk by an earlier start."""
    command = [sys.executable, "-m", "readmission", "run", "--end-with-parent", str(os.getpid())]
    seconds = 0.0
    for _ in range(2):
        started = time.perf_counter()
        process = subprocess.Popen(command, env=environment_of(settings), stdout=subprocess.DEVNULL)
        while not _predicts(settings.api_port):
            if process.poll() is not None or time.perf_counter() - started > START_PATIENCE:
                sys.exit("the API did not answer")
            time.sleep(0.05)
        seconds = time.perf_counter() - started
        process.terminate()
        process.wait()
    return round(seconds, 1)


def _predicts(port: int) -> bool:
    try:
        answer = httpx.post(f"http://127.0.0.1:{port}/predict", json={"features": {"age": "[70-80)"}}, trust_env=False)
    except httpx.HTTPError:
        return False
    return answer.status_code == httpx.codes.OK


def real_file(settings: Settings, services: Services, dataset: Dataset, pids: list[int], cores: int) -> dict:
    """Compare the pipeline on the real file with bare fits, and the stage ``store`` with psql."""
    path = open_dataset(settings, services, dataset)
    say("the pipeline on the real file")
    summary, peak = run_pipeline(settings, str(path), pids)
    say(f"stages {summary['stages']}")
    bare = {}
    for workers, threads in sorted({(1, cores), (cores, 1), (cores + 1, 1)}):
        say(f"bare fits with {workers} processes of {threads} threads")
        bare[workers, threads] = run_bare(path, workers, threads)
    (workers, threads), seconds = min(bare.items(), key=lambda item: item[1])
    psql, store = psql_copy_seconds(services, path), store_seconds(settings, services, dataset)
    return {
        "stages": summary["stages"],
        "pipeline_s": round(cost(summary), 2),
        "bare_s": seconds,
        "bare_workers": workers,
        "bare_threads": threads,
        "overhead": round(cost(summary) / seconds, 3),
        "reports_s": summary["report_seconds"],
        "peak_mib_real": round(peak),
        "psql_copy_s": round(psql, 3),
        "store_s": round(store, 3),
        "copy_ratio": round(psql / store, 2),
        "models": summary["models"],
    }


def scaling(settings: Settings, services: Services, pids: list[int], workers: int, threads: int) -> dict:
    """Compare the growth of the time from 100,000 to 1,000,000 synthetic rows with that of the bare fits.

    The small size is measured before and after the large one, and averaged, since a virtual machine's speed varies
    within the hour that this takes.
    """
    small, large = 100_000, 1_000_000
    costs: dict[int, list[float]] = {small: [], large: []}
    fits: dict[int, list[float]] = {small: [], large: []}
    peak = 0.0
    for rows in (small, large, small):
        say(f"the pipeline on {rows:,} synthetic rows")
        summary, highest = run_pipeline(settings, f"synthetic:{rows}", pids)
        say(f"stages {summary['stages']}")
        path = open_dataset(settings, services, acquire(settings, services, f"synthetic:{rows}", silent))
        say(f"bare fits on {rows:,} synthetic rows")
        costs[rows].append(cost(summary))
        fits[rows].append(run_bare(path, workers, threads))
        say(f"{costs[rows][-1]:.1f} s beside {fits[rows][-1]:.1f} s")
        peak = max(peak, highest)
    return {
        "row_scaling": round((mean(costs[large]) / mean(costs[small])) / (mean(fits[large]) / mean(fits[small])), 3),
        "pipeline_s_by_rows": {rows: [round(value, 1) for value in costs[rows]] for rows in costs},
        "bare_s_by_rows": fits,
        "peak_mib": round(peak),
    }


def say(line: str) -> None:
    """Print progress to standard error."""
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="what to measure")
    print(json.dumps(measure(parser.parse_args().parts)))


if __name__ == "__main__":
    main()
