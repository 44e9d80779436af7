"""The Makefile's own logic, in a folder of its own; what its targets call is tested elsewhere."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from readmission.local.lock import StackLock
from readmission.settings import Settings

REPOSITORY = Path(__file__).resolve().parents[1]

STAMP = ".venv/python.stamp"
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


def python_like_debians(folder: Path, *, pip: bool) -> str:
    """A Python without ensurepip, and with a pip of its own or without one that is new enough."""
    refusals = "*'import ensurepip'*) exit 1;;" + ("" if pip else "'-m pip'*) exit 1;;")
    script = folder / "python"
    script.write_text(f'#!/bin/sh\ncase "$*" in {refusals} esac\nexec "{sys.executable}" "$@"\n')
    script.chmod(0o755)
    return f"PYTHON={script}"


def pip_of(folder: Path) -> str:
    """Where the pip lies that the Makefile would use, and for which Python, as it says itself."""
    command = (folder / STAMP).read_text().split()
    return subprocess.run([*command, "--version"], cwd=folder, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("left", [True, False])
def test_an_environment_is_made_and_one_that_was_cut_short_is_made_anew(folder: Path, left: bool) -> None:
    if left:
        (folder / ".venv" / "bin").mkdir(parents=True)
        (folder / ".venv" / "bin" / "python").symlink_to(sys.executable)
        (folder / ".venv" / "half").touch()
    outcome = make(folder, STAMP, f"PYTHON={sys.executable}")
    assert outcome.returncode == 0, outcome.stderr
    assert str(folder / ".venv") in pip_of(folder)
    assert not (folder / ".venv" / "half").exists()


def test_the_systems_pip_serves_an_environment_that_could_get_none(folder: Path) -> None:
    outcome = make(folder, STAMP, python_like_debians(folder, pip=True))
    assert outcome.returncode == 0, outcome.stderr
    assert not list((folder / ".venv").rglob("pip*"))
    assert str(folder / ".venv") not in pip_of(folder)
    command = [*(folder / STAMP).read_text().split(), "list", "--format=freeze", "--disable-pip-version-check"]
    listed = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
    assert listed == "", "it looks into the new environment"


def test_without_either_one_line_names_the_package(folder: Path) -> None:
    outcome = make(folder, STAMP, python_like_debians(folder, pip=False))
    assert outcome.returncode == 2
    lines = [line for line in outcome.stderr.splitlines() if not line.startswith("make: ")]
    assert len(lines) == 1
    assert "python3-venv" in lines[0]
    assert not (folder / STAMP).exists()
    assert make(folder, STAMP, f"PYTHON={sys.executable}").returncode == 0, "mended, it goes on"


def test_a_finished_environment_is_left_alone(folder: Path) -> None:
    built(folder, python="#!/bin/sh\n")
    (folder / STAMP).unlink()
    assert make(folder, STAMP, f"PYTHON={sys.executable}").returncode == 0
    assert (folder / ".venv" / "bin" / "python").read_text() == "#!/bin/sh\n"


@pytest.mark.parametrize("target", ["run", "stack"])
def test_what_make_starts_ends_with_make(folder: Path, target: str) -> None:
    built(folder, readmission=TIED)
    outcome = make(folder, target)
    assert (outcome.stdout, outcome.stderr) == (f"{target} is tied to make\n", "")


@pytest.mark.parametrize("mark", ["credentials.json", "stack.lock"])
@pytest.mark.parametrize("name", [".readmission", "$(touch ran) 'state' folder"])
def test_clean_removes_the_state_folder(folder: Path, mark: str, name: str) -> None:
    home = folder / name
    (home / "data").mkdir(parents=True)
    (home / mark).touch()
    outcome = make(folder, "clean") if name == ".readmission" else make(folder, "clean", READMISSION_HOME=str(home))
    assert (outcome.returncode, outcome.stdout, outcome.stderr) == (0, "", "")
    assert not home.exists()
    assert [path.name for path in folder.iterdir()] == ["Makefile"]


def test_clean_of_nothing_is_done(folder: Path) -> None:
    assert make(folder, "clean").returncode == 0
    assert make(folder, "clean", READMISSION_HOME=str(folder / "absent")).returncode == 0


@pytest.mark.parametrize("named", ["by the environment", "to make"])
def test_clean_keeps_a_folder_that_is_no_state_folder(folder: Path, named: str) -> None:
    home = folder / "home"
    home.mkdir()
    (home / "thesis.tex").write_text("years")
    by = {"by the environment": ((), {"READMISSION_HOME": str(home)}), "to make": ((f"READMISSION_HOME={home}",), {})}
    arguments, environment = by[named]
    outcome = make(folder, "clean", *arguments, **environment)
    assert outcome.returncode == 2
    assert outcome.stderr.startswith(f"{home} does not look like a state folder")
    assert (home / "thesis.tex").read_text() == "years"


def test_clean_keeps_the_state_of_a_running_stack(folder: Path) -> None:
    settings = Settings(home=folder / ".readmission")
    settings.home.mkdir()
    lock = StackLock(settings)
    lock.acquire()
    outcome = make(folder, "clean")
    assert outcome.returncode == 2
    assert outcome.stderr.startswith("The stack is running")
    lock.release()
    assert make(folder, "clean").returncode == 0
    assert not settings.home.exists()


UV = "pip install -q --python .venv/bin/python --no-deps --require-hashes -r requirements/dev.txt"
PIP = "install --disable-pip-version-check --no-deps -q --require-hashes -r requirements/dev.txt"


def tools(folder: Path, uv: str) -> Path:
    """An environment that counts as built but for the tools of developers; uv and pip note what they are asked for."""
    noted = folder / "noted"
    built(
        folder,
        python=f'#!/bin/sh\n[ "$2" = uv ] || exit 0\nshift 2\necho "uv $* $UV_DEFAULT_INDEX" >>{noted}\n{uv}\n',
        pip=f'#!/bin/sh\n[ "$1" = config ] && exec echo https://index.example\necho "pip $*" >>{noted}\n',
    )
    for name in ("requirements/airflow.txt", "requirements/dev.txt", ".venv/airflow.stamp"):
        (folder / name).touch()
    (folder / STAMP).write_text(".venv/bin/pip\n")
    return noted


def test_uv_installs_from_pips_index(folder: Path) -> None:
    noted = tools(folder, "exit 0")
    outcome = make(folder, ".venv/dev.stamp", PIP_INDEX_URL="")
    assert (outcome.returncode, outcome.stderr) == (0, "")
    assert noted.read_text().splitlines() == [f"uv {UV} https://index.example"]
    assert (folder / ".venv/dev.stamp").exists()


def test_an_index_of_the_environment_wins(folder: Path) -> None:
    noted = tools(folder, "exit 0")
    make(folder, ".venv/dev.stamp", PIP_INDEX_URL="https://mine.example")
    assert noted.read_text().splitlines() == [f"uv {UV} https://mine.example"]


def test_where_uv_fails_pip_does_the_work(folder: Path) -> None:
    noted = tools(folder, "echo trouble >&2; exit 2")
    outcome = make(folder, ".venv/dev.stamp", PIP_INDEX_URL="")
    assert outcome.returncode == 0
    assert outcome.stderr == "Installing by pip, which takes some minutes: uv could not do it\n"
    assert noted.read_text().splitlines()[1:] == [f"pip {PIP}"]
