"""``readmission score`` and ``readmission api-key``, as a person types them."""

import csv
from pathlib import Path

import pytest

from command_line import CommandLine, Outcome
from readmission.schema import LABELS
from readmission.serving.http.auth import parse_keys
from readmission.settings import Settings


@pytest.fixture(scope="module")
def cli(platform: Settings, finished: Outcome) -> CommandLine:
    return CommandLine(platform)


def test_a_file_is_scored_on_the_version_in_production(cli: CommandLine, small_file: Path, tmp_path: Path) -> None:
    target = tmp_path / "scored.csv"
    outcome = cli.run("score", str(small_file), "-o", str(target))
    assert outcome.code == 0, outcome.stderr
    assert outcome.stdout.strip() == f"3,000 rows scored on version 1: {target}"
    with target.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3_000
    assert {row["readmission_prediction"] for row in rows} <= set(LABELS)
    assert all(abs(sum(float(row[f"probability_{label}"]) for label in LABELS) - 1) < 1e-9 for row in rows)
    assert rows[0]["encounter_id"] == small_file.read_text().splitlines()[1].split(",")[0]


def test_a_wrong_value_is_one_line(cli: CommandLine, tmp_path: Path) -> None:
    source = tmp_path / "stays.csv"
    source.write_text("race,time_in_hospital\nAsian,Q7SECRET\n")
    outcome = cli.invoke("score", str(source), "-o", str(tmp_path / "scored.csv"))
    assert outcome.code == 2
    assert "stays.csv: row 1, time_in_hospital: must be a whole number" in outcome.complaint
    assert "Q7SECRET" not in outcome.stderr
    assert not (tmp_path / "scored.csv").exists()


def test_a_key_is_made_and_accepted(cli: CommandLine) -> None:
    outcome = cli.invoke("api-key", "ward-3", "--scope", "admin")
    assert outcome.code == 0
    key, entry = (line.rpartition(": ")[2] for line in outcome.stdout.splitlines())
    found = parse_keys(entry).find(key)
    assert found is not None
    assert (found.name, found.scope) == ("ward-3", "admin")


def test_a_name_that_cannot_stand_in_the_setting_is_refused(cli: CommandLine) -> None:
    assert cli.invoke("api-key", "ward 3").code == 2
