"""What documents and messages point at exists: files, targets of ``make``, commands."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from command_line import SOURCE
from readmission.cli import main as cli

REPOSITORY = Path(__file__).resolve().parents[1]
DOCUMENTS = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
MODULES = sorted((SOURCE / "readmission").rglob("*.py"))

TARGETS = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
CODE = re.compile(r"```[a-z]*\n(.*?)```|`([^`\n]+)`", re.DOTALL)


def commands(command: object, name: str = "readmission") -> Iterator[str]:
    """Every command with the groups that it is in."""
    yield name
    for inner, sub in getattr(command, "commands", {}).items():
        yield from commands(sub, f"{name} {inner}")


COMMANDS = set(commands(typer.main.get_command(cli.app)))


def named_in(path: Path) -> Iterator[str]:
    """What a file shows as code, without comments: the lines of fenced blocks, and text between backticks."""
    for block, span in CODE.findall(path.read_text()):
        for line in (block or span).splitlines():
            yield from (part.strip() for part in line.partition("#")[0].split("&&"))


def made(lines: Iterator[str]) -> set[str]:
    found = (re.match(r"make ([a-z-]+)", line) for line in lines)
    return {match[1] for match in found if match}


def called(lines: Iterator[str]) -> set[str]:
    """Commands of ``readmission``, without options and arguments."""
    found = (re.match(r"readmission((?: [a-z][a-z-]*)+)", line) for line in lines)
    words = [match[1].split() for match in found if match]
    return {" ".join(["readmission", *names[: 2 if names[0] == "pipeline" else 1]]) for names in words}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", path.read_text())
    relative = [link.partition("#")[0] for link in links if not re.match(r"[a-z]+:|#", link)]
    assert [link for link in relative if not (path.parent / link).exists()] == []


def test_readers_of_this_test_find_what_they_name() -> None:
    lines = [line for path in DOCUMENTS for line in named_in(path)]
    assert {"run", "test", "doctor", "clean"} <= made(iter(lines))
    assert {"readmission psql", "readmission pipeline run", "readmission pipeline split"} <= called(iter(lines))


@pytest.mark.parametrize("path", [*DOCUMENTS, *MODULES], ids=lambda path: path.name)
def test_targets_and_commands_exist(path: Path) -> None:
    assert made(named_in(path)) <= TARGETS
    assert called(named_in(path)) <= COMMANDS
