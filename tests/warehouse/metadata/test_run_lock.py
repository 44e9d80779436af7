"""One run of the pipeline at a time."""

import subprocess
import sys
import time

import pytest
from pydantic import SecretStr

from readmission.errors import ServiceDownError
from readmission.services import Services
from readmission.warehouse.metadata.run_lock import run_lock

PATIENCE = 15.0
"""Seconds within which the server notices that a client is gone; it takes milliseconds."""

HOLDER = """
import sys, time
from pydantic import SecretStr
from readmission.warehouse.metadata.run_lock import run_lock
with run_lock(SecretStr(sys.argv[1]), "process 4711 on ward9"):
    print("held", flush=True)
    time.sleep(600)
"""


def take_lock(url: SecretStr) -> None:
    with run_lock(url, "second"):
        pass


def refusal(url: SecretStr) -> str:
    with pytest.raises(ServiceDownError) as caught:
        take_lock(url)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 3
    return str(caught.value)


def fail_while_locked(url: SecretStr) -> None:
    with run_lock(url, "first"):
        raise RuntimeError("stop")


def test_a_second_holder_is_told_who_holds_the_lock(url: SecretStr) -> None:
    with run_lock(url, "process 4711 on ward9"):
        message = refusal(url)
    assert message.startswith("Another pipeline run is under way: readmission pipeline, process 4711 on ward9, since 2")
    assert message.endswith("wait for it to end")


def test_the_lock_is_free_after_the_block(url: SecretStr) -> None:
    take_lock(url)
    take_lock(url)


def test_the_lock_is_free_after_an_error(url: SecretStr) -> None:
    with pytest.raises(RuntimeError, match="stop"):
        fail_while_locked(url)
    take_lock(url)


def test_a_refused_holder_does_not_take_the_lock_away(url: SecretStr) -> None:
    with run_lock(url, "first"):
        refusal(url)
        assert "first" in refusal(url)


def test_runs_on_other_databases_do_not_matter(url: SecretStr, warehouse: Services) -> None:
    with run_lock(warehouse.clean_url, "elsewhere"):
        take_lock(url)
        with run_lock(url, "here"):
            assert "here" in refusal(url)


def test_the_lock_of_a_killed_process_is_free(url: SecretStr) -> None:
    command = [sys.executable, "-c", HOLDER, url.get_secret_value()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert "process 4711 on ward9" in refusal(url)
        holder.kill()
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            take_lock(url)
        except ServiceDownError:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        else:
            break
