"""The Makefile's own logic, in a folder of its own; what its targets call is tested elsewhere."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]

TIED = '#!/bin/sh\n[ "$2" = --end-with-parent ] && [ "$3" = "$PPID" ] && [ $# = 3 ] && echo "$1 is tied to make"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(REPOSITORY / "Makefile", tmp_path)
    return tmp_path


def make(folder: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("READMISSION_", "MAKE"))}
    return subprocess.run(
        ["make", *arguments], cwd=folder, env={**kept, **environment}, capture_output=True, text=True, timeout=120
    )


def built(folder: Path, **programs: str) -> None:
    """Leave an environment that counts as built, with these programs in it."""
    programs_folder = folder / ".venv" / "bin"
    programs_folder.mkdir(parents=True)
    (folder / "requirements").mkdir()
    for name in ("pyproject.toml", "requirements/run.txt", ".venv/python.stamp", ".venv/run.stamp"):
        (folder / name).touch()
    for name, script in programs.items():
        (programs_folder / name).write_text(script)
        (programs_folder / name).chmod(0o755)


@pytest.mark.parametrize("target", ["run", "stack"])
def test_what_make_starts_ends_with_make(folder: Path, target: str) -> None:
    built(folder, readmission=TIED)
    outcome = make(folder, target)
    assert (outcome.stdout, outcome.stderr) == (f"{target} is tied to make\n", "")
