import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from processes import eventually, is_alive
from readmission.local.process import LAUNCHER

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can switch the user")

IDENTITY = (
    "import json, os; "
    "print(json.dumps([os.getuid(), os.geteuid(), os.getgid(), os.getegid(), os.getgroups(), os.getcwd()]))"
)


def launcher(*options: str, parent: int | None = None) -> list[str]:
    start = [sys.executable, "-I", "-S", str(LAUNCHER), "--parent", str(parent or os.getpid())]
    return [*start, "--signal", "SIGTERM", *options]


def run(*arguments: str, parent: int | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(launcher(*arguments, parent=parent), capture_output=True, text=True, check=False)


def namespaces_allowed() -> bool:
    return run("--map-user", "--", "/bin/true").returncode == 0


def wait_until_gone(pid: int) -> None:
    try:
        process = psutil.Process(pid)
    except psutil.NoSuchProcess:
        return
    assert eventually(lambda: not is_alive(process)), "the process is still there"


def test_becomes_the_program_and_passes_its_exit_status_on() -> None:
    assert run("--", "/bin/sh", "-c", "exit 7").returncode == 7


def test_options_of_the_program_are_not_taken_for_its_own() -> None:
    assert run("--", "/bin/echo", "--signal", "-c", "--", "x").stdout.split() == ["--signal", "-c", "--", "x"]


def test_the_process_id_stays_the_same() -> None:
    process = subprocess.Popen(launcher("--", "/bin/sh", "-c", "echo $$"), stdout=subprocess.PIPE, text=True)
    output, _ = process.communicate()
    assert int(output) == process.pid


def test_runs_in_the_folder(tmp_path: Path) -> None:
    result = run("--folder", str(tmp_path), "--", sys.executable, "-c", IDENTITY)
    assert json.loads(result.stdout)[-1] == str(tmp_path)


def test_without_options_the_user_stays() -> None:
    result = run("--", sys.executable, "-c", IDENTITY)
    assert json.loads(result.stdout)[:4] == [os.getuid(), os.geteuid(), os.getgid(), os.getegid()]


def test_does_not_start_the_program_when_the_parent_is_gone(tmp_path: Path) -> None:
    result = run("--", "/usr/bin/touch", str(tmp_path / "ran"), parent=os.getppid())
    assert result.returncode != 0
    assert "parent ended" in result.stderr
    assert not (tmp_path / "ran").exists()


@AS_ROOT
def test_switches_to_the_user_and_drops_all_groups() -> None:
    result = run("--user", "nobody", "--", "/usr/bin/id", "-u")
    assert result.stdout.strip() == "65534"
    assert run("--user", "nobody", "--", "/usr/bin/id", "-G").stdout.split() == ["65534"]


def test_in_a_namespace_root_is_nobody_and_keeps_its_files(tmp_path: Path) -> None:
    if not namespaces_allowed():
        pytest.skip("user namespaces are not allowed here")
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    secret.write_text("kept")
    assert run("--map-user", "--", "/usr/bin/id", "-u").stdout.strip() == "65534"
    assert run("--map-user", "--", "/bin/cat", str(secret)).stdout == "kept"


def test_a_namespace_gives_no_capabilities() -> None:
    if not namespaces_allowed():
        pytest.skip("user namespaces are not allowed here")
    status = run("--map-user", "--", "/bin/cat", "/proc/self/status").stdout
    assert "CapEff:\t0000000000000000" in status


def test_user_and_namespace_exclude_each_other() -> None:
    assert run("--user", "nobody", "--map-user", "--", "/bin/true").returncode == 2


OWNER = """
import os, subprocess, sys, time
options = sys.argv[4:]
command = [sys.executable, "-I", "-S", sys.argv[1], "--parent", str(os.getpid()), "--signal", sys.argv[2], *options]
child = subprocess.Popen([*command, "--", "/bin/sh", "-c", sys.argv[3]], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(600)
"""


def start_owner(signal_name: str, script: str, *options: str) -> tuple[subprocess.Popen[str], int]:
    command = [sys.executable, "-c", OWNER, str(LAUNCHER), signal_name, script, *options]
    owner = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    return owner, int(owner.stdout.readline())


def kill_owner(owner: subprocess.Popen[str]) -> None:
    owner.send_signal(signal.SIGKILL)
    owner.communicate()


@pytest.mark.parametrize("options", [(), ("--map-user",), pytest.param(("--user", "nobody"), marks=AS_ROOT)])
def test_ends_when_its_parent_is_killed(options: tuple[str, ...]) -> None:
    if "--map-user" in options and not namespaces_allowed():
        pytest.skip("user namespaces are not allowed here")
    owner, pid = start_owner("SIGKILL", "echo up; exec sleep 600", *options)
    assert psutil.pid_exists(pid)
    kill_owner(owner)
    wait_until_gone(pid)


def test_gets_the_chosen_signal(tmp_path: Path) -> None:
    witness = tmp_path / "signal"
    script = f"trap 'echo INT > {witness}; exit' INT; echo up; while :; do sleep 0.05; done"
    owner, pid = start_owner("SIGINT", script)
    kill_owner(owner)
    wait_until_gone(pid)
    assert witness.read_text() == "INT\n"
