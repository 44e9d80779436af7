import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import plain_http
from free_ports import free_port
from readmission.local.process import Child, Program, child_environment, package_path, serve_command, start

Launch = Callable[..., Child]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    children: list[Child] = []

    def run(*command: str, **environment: str) -> Child:
        program = Program("thing", command, child_environment(**environment), tmp_path)
        children.append(start(program, tmp_path / "logs"))
        return children[-1]

    yield run
    for child in children:
        child.stop(0.1)


def test_output_and_errors_are_appended_to_the_log(launch: Launch, tmp_path: Path) -> None:
    for _ in range(2):
        child = launch("/bin/sh", "-c", "echo out; echo err >&2")
        wait_for(lambda child=child: child.exit_code == 0)  # type: ignore[misc]
    assert (tmp_path / "logs" / "thing.log").read_text().splitlines() == ["out", "err"] * 2


def test_the_log_is_for_the_owner_only(launch: Launch, tmp_path: Path) -> None:
    launch("/bin/true")
    assert stat.S_IMODE((tmp_path / "logs").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "logs" / "thing.log").stat().st_mode) == 0o600


def test_what_a_child_writes_is_for_the_owner_only(launch: Launch, tmp_path: Path) -> None:
    child = launch("/usr/bin/touch", "made")
    wait_for(lambda: child.exit_code == 0)
    assert stat.S_IMODE((tmp_path / "made").stat().st_mode) == 0o600


def test_last_log_line_skips_blank_lines(launch: Launch) -> None:
    child = launch("/bin/sh", "-c", "echo first; echo ' last '; echo; exit 3")
    wait_for(lambda: child.exit_code == 3)
    assert child.last_log_line() == "last"


def test_last_log_line_of_a_silent_child_is_empty(launch: Launch) -> None:
    child = launch("/bin/true")
    wait_for(lambda: child.exit_code == 0)
    assert child.last_log_line() == ""


def test_last_log_line_of_a_long_log(launch: Launch) -> None:
    child = launch(sys.executable, "-c", "print('x' * 100_000); print('end')")
    wait_for(lambda: child.exit_code == 0)
    assert child.last_log_line() == "end"


def test_stop_asks_first(launch: Launch) -> None:
    child = launch("/bin/sh", "-c", "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done")
    wait_for(lambda: child.last_log_line() == "up")
    child.stop(20)
    assert child.exit_code == 0
    assert child.last_log_line() == "bye"


def test_stop_kills_who_does_not_listen(launch: Launch) -> None:
    child = launch("/bin/sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done")
    wait_for(lambda: child.last_log_line() == "up")
    child.stop(0.2)
    assert child.exit_code == -9


def test_stop_of_an_ended_child_does_nothing(launch: Launch) -> None:
    child = launch("/bin/sh", "-c", "exit 5")
    wait_for(lambda: child.exit_code is not None)
    child.stop(1)
    assert child.exit_code == 5


def test_a_child_is_out_of_reach_of_the_terminal(launch: Launch) -> None:
    child = launch("/bin/sleep", "60")
    assert os.getpgid(child.pid) == child.pid


LISTEN = "import socket, sys, time; s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); time.sleep(60)"


def test_listens_on_its_own_port(launch: Launch) -> None:
    port = free_port()
    child = launch(sys.executable, "-c", LISTEN, str(port))
    wait_for(lambda: child.listens_on(port))
    assert not child.listens_on(port + 1)


def test_does_not_take_another_programs_port_for_its_own(launch: Launch) -> None:
    child = launch("/bin/sleep", "60")
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert not child.listens_on(server.getsockname()[1])


def test_an_ended_child_listens_nowhere(launch: Launch) -> None:
    child = launch("/bin/true")
    wait_for(lambda: child.exit_code == 0)
    assert not child.listens_on(1)


def test_children_may_write_bytecode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    assert "PYTHONDONTWRITEBYTECODE" not in child_environment()


def test_environment_leaves_out_prefixes_and_adds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "mine")
    monkeypatch.setenv("KEPT", "yes")
    environment = child_environment(without=("AWS_",), AWS_ACCESS_KEY_ID="ours")
    assert "AWS_PROFILE" not in environment
    assert environment["KEPT"] == "yes"
    assert environment["AWS_ACCESS_KEY_ID"] == "ours"


def test_local_calls_of_children_avoid_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("NO_PROXY", "somewhere")
    assert child_environment()["NO_PROXY"] == "somewhere,127.0.0.1,localhost"


def test_a_python_child_finds_this_package(tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-c", "import readmission; print(readmission.__file__)"]
    result = subprocess.run(
        command, env=child_environment(**package_path()), cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert Path(result.stdout.strip()).parents[1] == Path(package_path()["PYTHONPATH"].split(os.pathsep)[0])


APPLICATION = """
def create_app():
    async def app(scope, receive, send):
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"served"})
        else:
            assert (await receive())["type"] == "lifespan.startup"
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
    return app

app = create_app()
"""


def test_serves_an_application_until_stopped(launch: Launch, tmp_path: Path) -> None:
    (tmp_path / "tiny.py").write_text(APPLICATION)
    port = free_port()
    path = os.pathsep.join([str(tmp_path), package_path()["PYTHONPATH"]])
    child = launch(*serve_command("tiny:app", port, 1), PYTHONPATH=path)
    wait_for(lambda: child.listens_on(port))
    assert plain_http.get(f"http://127.0.0.1:{port}/").text == "served"
    child.stop(20)
    assert child.exit_code == -15
