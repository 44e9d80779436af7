"""Environments of servers whose newest versions conflict with the project's libraries, each with its own lock."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.api.servers import REPOSITORY

FOLDER = REPOSITORY / ".venv" / "bench"
"""Inside the project's environment, so that both are deleted together."""


def environment(name: str) -> Path:
    """Make the environment of ``requirements/bench-NAME.txt``, unless it is there; answer its folder of programs."""
    lock = REPOSITORY / "requirements" / f"bench-{name}.txt"
    folder = FOLDER / name
    stamp = folder / "lock.sha256"
    wanted = hashlib.sha256(lock.read_bytes()).hexdigest()
    if not (stamp.is_file() and stamp.read_text() == wanted):
        print(f"building the environment of {name} (a minute or two, once)", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        _run(sys.executable, "-m", "venv", str(folder))
        install = ("install", "-q", "--disable-pip-version-check", "--no-deps", "--require-hashes", "-r", str(lock))
        _run(str(folder / "bin" / "python"), "-m", "pip", *install)
        stamp.write_text(wanted)
    return folder / "bin"


def _run(*command: str) -> None:
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    if outcome.returncode:
        lines = [line for line in (outcome.stdout + outcome.stderr).splitlines() if line.strip()]
        sys.exit(f"{' '.join(command[:4])} failed: {lines[-1] if lines else outcome.returncode}")
