"""The API as users run it: ``readmission serve``, a process of its own."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

import plain_http
import readmission
from free_ports import free_port
from processes import ask, descendants

PATIENCE = 60.0
SOURCE = Path(readmission.__file__).parents[1]


@dataclass
class ApiProcess:
    """One that runs; ``settings`` are its READMISSION_ variables without that prefix."""

    process: "subprocess.Popen[bytes]"
    url: str
    log: Path

    def logged(self) -> list[dict[str, Any]]:
        """What it wrote, each line of which must be JSON."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def workers(self) -> list[psutil.Process]:
        """Its processes that serve."""
        return [child for child in descendants(self.process.pid) if _serves(child)]

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            with contextlib.suppress(httpx.HTTPError):
                if plain_http.get(f"{self.url}/ready", timeout=5).status_code == 200:
                    return
            time.sleep(0.05)
        raise AssertionError(f"not ready: {self.log.read_text()}")

    def stop(self) -> int:
        """Ask it to end, and wait."""
        self.process.terminate()
        return self.process.wait(PATIENCE)


def _serves(process: psutil.Process) -> bool:
    return any("spawn_main" in part for line in ask([process], psutil.Process.cmdline) for part in line)


def serve_command(port: int) -> list[str]:
    return [sys.executable, "-P", "-m", "readmission", "serve", "--port", str(port)]


def serve_environment(home: Path, **settings: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("READMISSION_")}
    own = {f"READMISSION_{name.upper()}": value for name, value in {"home": str(home), **settings}.items()}
    return {**kept, **own, "PYTHONPATH": str(SOURCE)}


@contextlib.contextmanager
def api_process(home: Path, at: int | None = None, wait: bool = True, **settings: str) -> Iterator[ApiProcess]:
    """Run one until the block ends; killed then if it still runs. Without a model it never gets ready: do not wait."""
    port = free_port() if at is None else at
    home.mkdir(parents=True, exist_ok=True)
    log = home / "api-process.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(serve_command(port), env=serve_environment(home, **settings), stderr=stream)
    running = ApiProcess(process, f"http://127.0.0.1:{port}", log)
    try:
        if wait:
            running.wait_until_ready()
        yield running
    finally:
        left = [] if process.poll() is not None else running.workers()
        process.kill()
        process.wait()
        for worker in left:
            with contextlib.suppress(psutil.Error):
                worker.kill()
