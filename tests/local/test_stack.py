"""Whole stacks in processes of their own: these tests kill owners and children."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

import plain_http
from processes import ask, descendants, is_alive, listening
from readmission.errors import BadInputError, ServiceDownError
from readmission.local.api_server import settings_environment
from readmission.local.lock import lock_path
from readmission.local.process import package_path
from readmission.local.s3 import INNER_OFFSET
from readmission.local.stack import LocalStack, is_running
from readmission.services import resolve_services
from readmission.settings import Settings

OWNER = """
import signal, sys
from readmission.local.stack import LocalStack
from readmission.settings import load_settings
with LocalStack(load_settings(), lambda line: print(line, flush=True), api=True) as stack:
    print("up", flush=True)
    if "deaf" in sys.argv:  # as a library does in whose code the signal arrives
        try:
            signal.pause()
        except KeyboardInterrupt:
            pass
    stack.wait()
print("stopped", flush=True)
"""

Owner = subprocess.Popen[str]


def start_owner(settings: Settings, *arguments: str) -> tuple[Owner, list[str]]:
    environment = {**os.environ, **settings_environment(settings), **package_path()}
    command = [sys.executable, "-c", OWNER, *arguments]
    owner = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    return owner, read_until(owner, "up")


def read_until(owner: Owner, wanted: str) -> list[str]:
    assert owner.stdout is not None
    lines: list[str] = []
    for line in owner.stdout:
        lines.append(line.strip())
        if lines[-1] == wanted:
            return lines
    raise AssertionError(f"the owner ended after {lines}")


def end(owner: Owner) -> None:
    if owner.poll() is None:
        owner.kill()
    owner.communicate()


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [process for process in processes if is_alive(process)]


def execute(settings: Settings, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(resolve_services(settings).raw_url.get_secret_value(), autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def mlflow_status(settings: Settings) -> int:
    url = f"http://127.0.0.1:{settings.mlflow_port}/api/2.0/mlflow/experiments/search?max_results=1"
    return plain_http.get(url, timeout=30).status_code


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, new_settings: Callable[..., Settings]) -> Settings:
    return new_settings(tmp_path_factory.mktemp("owned") / "home")


@pytest.fixture(scope="module")
def owner(settings: Settings) -> Iterator[Owner]:
    process, lines = start_owner(settings)
    ready = [line.split(" is ready")[0] for line in lines if " is ready" in line]
    assert sorted(ready) == ["API", "MLflow", "PostgreSQL", "S3"]
    assert ready[-1] == "MLflow"
    yield process
    end(process)


def test_every_service_answers(owner: Owner, settings: Settings) -> None:
    assert execute(settings, "SELECT 1") == [(1,)]
    assert mlflow_status(settings) == 200
    assert plain_http.get(f"http://127.0.0.1:{settings.api_port}/live").status_code == 200


def test_nothing_listens_beyond_loopback(owner: Owner) -> None:
    places = [place for found in ask(descendants(owner.pid), listening) for place in found]
    assert len(places) >= 13
    assert {address for address, _ in places} <= {"127.0.0.1", "::1"}


def test_a_second_owner_gets_one_line_with_the_first_ones_number(owner: Owner, settings: Settings) -> None:
    assert is_running(settings)
    with pytest.raises(ServiceDownError) as error:
        LocalStack(settings).start()
    assert f"process {owner.pid}" in str(error.value)
    assert "\n" not in str(error.value)
    assert is_running(settings), "the refused one did not disturb the first"


def test_a_taken_port_is_reported_before_anything_starts(
    owner: Owner, settings: Settings, tmp_path: Path, new_settings: Callable[..., Settings]
) -> None:
    other = new_settings(tmp_path / "other", mlflow_port=settings.mlflow_port)
    with pytest.raises(ServiceDownError) as error:
        LocalStack(other).start()
    assert f"Port {settings.mlflow_port} is taken" in str(error.value)
    assert "READMISSION_MLFLOW_PORT" in str(error.value)
    assert not (other.home / "postgres").exists()
    assert not is_running(other)


@pytest.mark.parametrize(
    ("first", "second", "partner"),
    [
        ("api_port", "mlflow_port", 0),
        ("s3_port", "s3_admin_port", 0),
        ("s3_port", "postgres_port", INNER_OFFSET),
        ("s3_filer_port", "mlflow_port", INNER_OFFSET),
    ],
)
def test_two_settings_with_one_port_are_reported_before_anything_starts(
    tmp_path: Path, new_settings: Callable[..., Settings], first: str, second: str, partner: int
) -> None:
    own = new_settings(tmp_path / "home")
    port = getattr(own, first) + partner
    with pytest.raises(BadInputError) as error:
        LocalStack(own.model_copy(update={second: port}), api=True).start()
    names = re.findall(r"READMISSION_\w+", str(error.value))
    assert sorted(names) == sorted(f"READMISSION_{name.upper()}" for name in (first, second))
    assert f"port {port}:" in str(error.value)
    assert not (own.home / "postgres").exists()
    assert not is_running(own)


@pytest.mark.parametrize("name", ["weed", "postgres"])
def test_a_killed_child_comes_back(owner: Owner, settings: Settings, name: str) -> None:
    execute(settings, f"CREATE TABLE kept_{name} ()")
    children = psutil.Process(owner.pid).children()
    next(child for child, found in ask(children, lambda process: (process, process.name())) if found == name).kill()
    read_until_contains(owner, "is ready")
    assert execute(settings, f"SELECT count(*) FROM kept_{name}") == [(0,)]
    wait_for(lambda: mlflow_status(settings) == 200)


def read_until_contains(owner: Owner, text: str) -> None:
    assert owner.stdout is not None
    assert any(text in line for line in owner.stdout)


def test_a_killed_owner_leaves_no_child_and_the_next_one_recovers(owner: Owner, settings: Settings) -> None:
    execute(settings, "CREATE TABLE survivor AS SELECT 42 AS value")
    children = descendants(owner.pid)
    assert {"postgres", "weed"} <= set(ask(children, psutil.Process.name))
    assert len(children) > 8
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()
    # Not yet gone: the next start has to wait for what the last one left.
    second, _ = start_owner(settings)
    try:
        assert alive(children) == []
        assert execute(settings, "SELECT value FROM survivor") == [(42,)]
        assert mlflow_status(settings) == 200
    finally:
        stop_in_order(second, signal.SIGINT)
    assert not is_running(settings)


def stop_in_order(owner: Owner, number: int) -> None:
    children = descendants(owner.pid)
    owner.send_signal(number)
    time.sleep(0.2)
    owner.send_signal(number)  # by somebody who cannot wait: it goes on stopping in order
    output, _ = owner.communicate(timeout=60)
    assert output.strip().endswith("stopped")
    assert owner.returncode == 0
    assert alive(children) == []


def test_a_killed_owner_that_is_still_starting_leaves_no_child(settings: Settings) -> None:
    environment = {**os.environ, **settings_environment(settings), **package_path()}
    owner = subprocess.Popen([sys.executable, "-c", OWNER], env=environment, stdout=subprocess.PIPE, text=True)
    wait_for(lambda: len(descendants(owner.pid)) >= 2)
    children = descendants(owner.pid)
    end(owner)
    wait_for(lambda: not alive(children))
    assert not is_running(settings)


def test_sigterm_stops_everything_in_order_even_if_a_library_swallows_it(settings: Settings) -> None:
    owner, _ = start_owner(settings, "deaf")
    stop_in_order(owner, signal.SIGTERM)
    assert lock_path(settings).read_text() == ""
    assert "database system is shut down" in (settings.home / "logs" / "postgres.log").read_text().splitlines()[-1]


def test_sigterm_while_starting_stops_everything_too(settings: Settings) -> None:
    environment = {**os.environ, **settings_environment(settings), **package_path()}
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    wait_for(lambda: len(descendants(owner.pid)) >= 2)
    children = descendants(owner.pid)
    owner.terminate()
    owner.communicate(timeout=60)
    assert alive(children) == []
    assert not is_running(settings)


@pytest.mark.skipif(os.geteuid() != 0, reason="already run by an ordinary user")
def test_root_can_leave_it_to_an_ordinary_user(new_settings: Callable[..., Settings]) -> None:
    folder = Path(tempfile.mkdtemp())
    os.chown(folder, 65534, 65534)
    settings = new_settings(folder / "home")
    environment = {**os.environ, **settings_environment(settings), **package_path(), "HOME": str(folder)}
    command = [sys.executable, "-c", OWNER]
    try:
        probe = subprocess.run(
            [sys.executable, "-c", "import readmission, mlflow.version"],
            env=environment,
            user=65534,
            group=65534,
            extra_groups=[],
            capture_output=True,
            check=False,
        )
    except PermissionError:
        pytest.skip("Python or this source tree is not readable to an ordinary user")
    if probe.returncode != 0:
        pytest.skip("Python or this source tree is not readable to an ordinary user")
    owner = subprocess.Popen(
        command, env=environment, user=65534, group=65534, extra_groups=[], stdout=subprocess.PIPE, text=True
    )
    try:
        read_until(owner, "up")
        assert set(ask(descendants(owner.pid), lambda process: process.uids().real)) == {65534}
        stop_in_order(owner, signal.SIGTERM)
    finally:
        end(owner)
        shutil.rmtree(folder)
