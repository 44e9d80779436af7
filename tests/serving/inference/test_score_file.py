"""Files of any size on one model: CSV and Parquet, in and out."""

import csv
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from serving_bundle import MadeBundle, records, table

from readmission.errors import BadInputError
from readmission.schema import LABELS
from readmission.serving.inference import score_file as scoring
from readmission.serving.inference.score_file import score_file
from readmission.serving.inference.scorer import Scorer, load_scorer

SECRET = "Zebediah"


@pytest.fixture(scope="module")
def scorer(tree_bundle: MadeBundle) -> Scorer:
    return load_scorer(tree_bundle.folder, "7")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    rows = table(records(700, seed=23))
    return rows.append_column("encounter_id", pa.array([str(number) for number in range(700)]))


def written(source: pa.Table, path: Path) -> Path:
    (pq.write_table if path.suffix == ".parquet" else pacsv.write_csv)(source, path)
    return path


@pytest.mark.parametrize("given", ["in.csv", "in.parquet"])
@pytest.mark.parametrize("wanted", ["out.csv", "out.parquet"])
def test_answers_are_those_of_single_predictions(
    scorer: Scorer, source: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, wanted: str
) -> None:
    monkeypatch.setattr(scoring, "ROWS", 100)
    monkeypatch.setattr(scoring, "_BLOCK", 20_000)
    done: list[int] = []
    target = tmp_path / wanted
    assert score_file(scorer, written(source, tmp_path / given), target, done.append) == 700
    found = pq.read_table(target) if target.suffix == ".parquet" else pacsv.read_csv(target)
    assert found.column("encounter_id").cast(pa.int64()).to_pylist() == list(range(700))
    expected = [scorer.score(row) for row in source.drop_columns("encounter_id").to_pylist()]
    assert found.column("readmission_prediction").to_pylist() == [answer.label for answer in expected]
    for place, label in enumerate(LABELS):
        chances = [answer.probabilities[place] for answer in expected]
        np.testing.assert_allclose(found.column(f"probability_{label}"), chances, atol=1e-6)
    assert done[-1] == 700
    assert len(done) > 1


def test_numbers_may_be_numbers(scorer: Scorer, source: pa.Table, tmp_path: Path) -> None:
    numbers = source.column("time_in_hospital").cast(pa.int64())
    typed = source.set_column(source.column_names.index("time_in_hospital"), "time_in_hospital", numbers)
    for name, content in (("text", source), ("typed", typed)):
        score_file(scorer, written(content, tmp_path / f"{name}.parquet"), tmp_path / f"{name}.csv", lambda _: None)
    assert (tmp_path / "text.csv").read_text() == (tmp_path / "typed.csv").read_text()


def bad(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("race,age\nAsian,[10-20)\nAsian\n", "a row"),
        ("race,time_in_hospital\nAsian,3\nAsian,Zebediah\n", "row 2, time_in_hospital: must be a whole number"),
        ("race,blood_type\nAsian,A\n", "column blood_type"),
        ("", "empty"),
        ("race\n", "no rows"),
    ],
)
def test_a_bad_file_is_refused_and_changes_nothing(scorer: Scorer, tmp_path: Path, content: str, told: str) -> None:
    target = bad(tmp_path / "out.csv", "as it was")
    with pytest.raises(BadInputError, match=told) as refusal:
        score_file(scorer, bad(tmp_path / "in.csv", content), target, lambda _: None)
    assert SECRET not in str(refusal.value)
    assert target.read_text() == "as it was"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "out.csv"]


def test_a_file_that_is_not_there_is_named(scorer: Scorer, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"absent\.csv: No such file"):
        score_file(scorer, tmp_path / "absent.csv", tmp_path / "out.csv", lambda _: None)


def test_what_is_no_parquet_is_refused(scorer: Scorer, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"in\.parquet"):
        score_file(scorer, bad(tmp_path / "in.parquet", "race\nAsian\n"), tmp_path / "out.csv", lambda _: None)


def test_answers_can_be_read_by_anybody(scorer: Scorer, source: pa.Table, tmp_path: Path) -> None:
    score_file(scorer, written(source, tmp_path / "in.csv"), tmp_path / "out.csv", lambda _: None)
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["readmission_prediction"] for row in rows} <= set(LABELS)
    assert {row["model_version"] for row in rows} == {"7"}
