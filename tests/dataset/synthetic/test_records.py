import subprocess
import sys
from collections import Counter
from pathlib import Path

import lightgbm
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyarrow import csv
from sklearn.metrics import roc_auc_score

from readmission import schema
from readmission.dataset.synthetic.aggregates import TREATMENT, Tables, load_tables
from readmission.dataset.synthetic.records import CHUNK_ROWS, FIRST_ID, write_synthetic
from readmission.dataset.verify import verify
from readmission.errors import BadInputError

ROWS = 101_766
MEDICATIONS = list(schema.MEDICATIONS)
DIED = ["11", "19", "20", "21"]
Floats = NDArray[np.float64]


def read(path: Path) -> pd.DataFrame:
    """All columns as text; ``None`` and ``?`` are values."""
    convert = csv.ConvertOptions(column_types=dict.fromkeys(schema.COLUMN_NAMES, "string"), strings_can_be_null=False)
    frame: pd.DataFrame = csv.read_csv(path, convert_options=convert).to_pandas()
    return frame


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("synthetic") / "synthetic.csv"
    write_synthetic(path, ROWS)
    return path


@pytest.fixture(scope="module")
def frame(path: Path) -> pd.DataFrame:
    return read(path)


@pytest.fixture(scope="module")
def real(real_csv: Path) -> pd.DataFrame:
    return read(real_csv)


@pytest.fixture(scope="module")
def tables() -> Tables:
    return load_tables()


@pytest.fixture(scope="module")
def histories(frame: pd.DataFrame) -> pd.DataFrame:
    """Encounters by patient in order of time, ``later`` where another one follows."""
    ordered = frame.sort_values(["patient_nbr", "encounter_id"])
    return ordered.assign(later=ordered["patient_nbr"].eq(ordered["patient_nbr"].shift(-1)))


class TestFormat:
    def test_the_header_is_the_sources(self, path: Path) -> None:
        with path.open("rb") as file:
            assert file.readline() == ",".join(schema.COLUMN_NAMES).encode() + b"\r\n"

    def test_lines_end_as_the_sources(self, path: Path) -> None:
        content = path.read_bytes()
        assert content.endswith(b"\r\n")
        assert content.count(b"\r\n") == content.count(b"\n") == content.count(b"\r") == ROWS + 1

    def test_nothing_is_quoted_or_empty(self, path: Path) -> None:
        content = path.read_bytes()
        assert not any(part in content for part in (b'"', b" ", b",,", b"\n,", b",\r", b"nan", b"null"))
        assert content.count(b",") == 49 * (ROWS + 1)

    def test_the_platform_accepts_it(self, path: Path) -> None:
        assert verify(path, "synthetic") == ROWS

    def test_columns_and_rows_are_read_back(self, frame: pd.DataFrame) -> None:
        assert tuple(frame.columns) == schema.COLUMN_NAMES
        assert len(frame) == ROWS

    @pytest.mark.parametrize("column", schema.COLUMNS, ids=lambda column: column.name)
    def test_values_are_possible(self, column: schema.Column, frame: pd.DataFrame) -> None:
        values = set(frame[column.name])
        if column.is_number:
            numbers = [int(value) for value in values]
            assert min(numbers) >= column.seen_low
            assert max(numbers) <= column.seen_high
            assert {str(number) for number in numbers} == values
        elif column.levels:
            assert values <= {*column.levels, schema.MISSING}
        else:
            assert all(value == "?" or value[0] in "0123456789EV" for value in values)


class TestCalling:
    @settings(max_examples=10)
    @given(rows=st.integers(1, 300), seed=st.integers(0, 2**32))
    def test_any_number_of_rows(self, tmp_path_factory: pytest.TempPathFactory, rows: int, seed: int) -> None:
        path = tmp_path_factory.mktemp("any") / "any.csv"
        write_synthetic(path, rows, seed)
        assert verify(path, "any") == rows

    @pytest.mark.parametrize("rows", [CHUNK_ROWS - 1, CHUNK_ROWS, CHUNK_ROWS + 1])
    def test_chunks_leave_no_seam(self, tmp_path: Path, rows: int) -> None:
        write_synthetic(tmp_path / "seam.csv", rows)
        frame = read(tmp_path / "seam.csv")
        assert len(frame) == frame["encounter_id"].nunique() == rows

    def test_same_rows_and_seed_same_bytes(self, tmp_path: Path) -> None:
        contents = []
        for number, seed in enumerate((7, 7, 8)):
            write_synthetic(tmp_path / str(number), CHUNK_ROWS + 10, seed)
            contents.append((tmp_path / str(number)).read_bytes())
        assert contents[0] == contents[1]
        assert contents[0] != contents[2]

    def test_progress_is_reported(self, tmp_path: Path) -> None:
        seen: list[int] = []
        write_synthetic(tmp_path / "a.csv", 2 * CHUNK_ROWS + 5, report=seen.append)
        assert seen == [CHUNK_ROWS, 2 * CHUNK_ROWS, 2 * CHUNK_ROWS + 5]

    @pytest.mark.parametrize("rows", [0, -1])
    def test_no_rows_are_refused(self, tmp_path: Path, rows: int) -> None:
        with pytest.raises(BadInputError, match="at least 1 row"):
            write_synthetic(tmp_path / "a.csv", rows)
        assert not list(tmp_path.iterdir())

    def test_folders_are_made(self, tmp_path: Path) -> None:
        write_synthetic(tmp_path / "new" / "folder" / "a.csv", 1)
        assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["a.csv"]

    def test_a_folder_in_the_way_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").mkdir()
        with pytest.raises(BadInputError, match=r"Cannot write .*a\.csv"):
            write_synthetic(tmp_path / "a.csv", 1)
        assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]

    def test_a_file_for_a_folder_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(BadInputError, match="Cannot write"):
            write_synthetic(tmp_path / "file" / "a.csv", 1)

    def test_an_interruption_leaves_the_older_file(self, tmp_path: Path) -> None:
        def interrupt(_: int) -> None:
            raise KeyboardInterrupt

        (tmp_path / "a.csv").write_text("older")
        with pytest.raises(KeyboardInterrupt):
            write_synthetic(tmp_path / "a.csv", 10, report=interrupt)
        assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
        assert (tmp_path / "a.csv").read_text() == "older"


class TestIdentifiers:
    def test_encounters_are_unique_and_rise(self, frame: pd.DataFrame) -> None:
        numbers = frame["encounter_id"].astype("int64").to_numpy()
        assert numbers[0] == FIRST_ID == 1_000_000_000
        assert (np.diff(numbers) > 0).all()

    def test_patients_are_numbered_beyond_the_real_ones(self, frame: pd.DataFrame) -> None:
        numbers = np.unique(frame["patient_nbr"].astype("int64"))
        assert numbers.min() == FIRST_ID
        assert numbers.max() == FIRST_ID + len(numbers) - 1

    def test_a_patients_number_tells_nothing(self, histories: pd.DataFrame) -> None:
        sizes = histories.groupby(histories["patient_nbr"].astype("int64"))["later"].size()
        assert abs(np.corrcoef(sizes.index % CHUNK_ROWS, sizes)[0, 1]) < 0.02

    def test_no_record_is_a_real_one(self, frame: pd.DataFrame, real: pd.DataFrame) -> None:
        assert not set(frame["encounter_id"]) & set(real["encounter_id"])
        assert not set(frame["patient_nbr"]) & set(real["patient_nbr"])
        columns = [column.name for column in schema.RECORD_COLUMNS]
        same = frame[columns].merge(real[columns].drop_duplicates(), on=columns)
        assert len(same) < ROWS / 10_000


class TestShares:
    def test_levels_have_the_shares_of_the_tables(self, frame: pd.DataFrame, tables: Tables) -> None:
        for name, groups in tables["groups"].items():
            if name == TREATMENT:
                continue
            found = frame[name].value_counts(normalize=True)
            for group in groups:
                for value, count in zip(group["values"], group["counts"], strict=True):
                    if ".." not in value and count >= 0.01 * tables["rows"]:
                        assert found[value] == pytest.approx(count / tables["rows"], abs=0.01), f"{name} {value}"

    def test_treatments_have_the_shares_of_the_tables(self, frame: pd.DataFrame, tables: Tables) -> None:
        groups = tables["groups"][TREATMENT]
        counts = {value: n for group in groups for value, n in zip(group["values"], group["counts"], strict=True)}
        rows = zip(*(frame[name] for name in (*MEDICATIONS, "change", "diabetesMed")), strict=True)
        joined = Counter(",".join(row) for row in rows)
        for value, count in counts.items():
            if count >= 0.01 * tables["rows"]:
                assert joined[value] / ROWS == pytest.approx(count / tables["rows"], abs=0.01)

    @pytest.mark.parametrize("column", [name for name in schema.COLUMN_NAMES if name not in schema.IDENTIFIERS])
    def test_levels_have_the_real_shares(self, column: str, frame: pd.DataFrame, real: pd.DataFrame) -> None:
        expected = real[column].value_counts(normalize=True)
        expected = expected[expected >= 0.01]
        found = frame[column].value_counts(normalize=True).reindex(expected.index, fill_value=0.0)
        assert (found - expected).abs().max() < 0.01

    @pytest.mark.parametrize(
        ("column", "value", "share"),
        [
            ("weight", "?", 0.969),
            ("medical_specialty", "?", 0.491),
            ("payer_code", "?", 0.396),
            ("race", "?", 0.022),
            ("diag_3", "?", 0.014),
            ("max_glu_serum", "None", 0.947),
            ("A1Cresult", "None", 0.833),
            ("readmitted", "NO", 0.539),
            ("readmitted", ">30", 0.349),
            ("readmitted", "<30", 0.112),
        ],
    )
    def test_published_shares(self, column: str, value: str, share: float, frame: pd.DataFrame) -> None:
        assert (frame[column] == value).mean() == pytest.approx(share, abs=0.01)

    def test_rare_medications_are_not_lost(self, frame: pd.DataFrame) -> None:
        for name, share in (("repaglinide", 0.0151), ("nateglinide", 0.0069), ("acarbose", 0.0030)):
            assert (frame[name] != "No").mean() == pytest.approx(share, rel=0.2)


def joint(frame: pd.DataFrame, first: str, second: str) -> pd.Series:
    return frame.groupby([first, second]).size() / len(frame)


class TestDependence:
    @pytest.mark.parametrize(
        ("first", "second"),
        [
            ("readmitted", "discharge_disposition_id"),
            ("readmitted", "number_inpatient"),
            ("readmitted", "number_emergency"),
            ("readmitted", "number_outpatient"),
            ("readmitted", "insulin"),
            ("age", "payer_code"),
            ("admission_source_id", "admission_type_id"),
            ("age", "discharge_disposition_id"),
            ("time_in_hospital", "num_medications"),
        ],
    )
    def test_pairs_are_as_frequent_as_in_reality(
        self, first: str, second: str, frame: pd.DataFrame, real: pd.DataFrame
    ) -> None:
        expected, found = joint(real, first, second).align(joint(frame, first, second), fill_value=0.0)
        one, two = (real[name].value_counts(normalize=True) for name in (first, second))
        independent = [one.get(a, 0.0) * two.get(b, 0.0) for a, b in expected.index]
        distance = (expected - found).abs().sum() / 2
        assert distance < 0.05
        assert distance < (expected - independent).abs().sum() / 2

    def test_more_visits_mean_more_readmissions(self, frame: pd.DataFrame) -> None:
        often = frame["number_inpatient"].astype(int) >= 3
        soon = frame["readmitted"] == "<30"
        assert soon[often].mean() > 2 * soon[~often].mean()


class TestPatients:
    def test_encounters_per_patient(self, histories: pd.DataFrame) -> None:
        sizes = histories.groupby("patient_nbr").size()
        assert len(sizes) == pytest.approx(71_518, rel=0.01)
        assert (sizes == 1).mean() == pytest.approx(0.765, abs=0.01)
        assert (sizes == 2).mean() == pytest.approx(0.146, abs=0.01)
        assert 14 <= sizes.max() <= 40

    @pytest.mark.parametrize("column", ["race", "gender"])
    def test_what_stays_with_a_patient(self, column: str, histories: pd.DataFrame) -> None:
        assert histories.groupby("patient_nbr")[column].nunique().max() == 1

    def test_nobody_grows_younger(self, histories: pd.DataFrame) -> None:
        band = histories["age"].map({text: number for number, text in enumerate(schema.AGE_BANDS)})
        step = (band.shift(-1) - band)[histories["later"]]
        assert set(step) == {0, 1}
        assert step.mean() == pytest.approx(0.052, abs=0.01)

    def test_a_later_encounter_is_a_readmission(self, histories: pd.DataFrame) -> None:
        never = histories["readmitted"] == "NO"
        assert never[histories["later"]].mean() == pytest.approx(0.016, abs=0.005)
        assert never[~histories["later"]].mean() == pytest.approx(0.760, abs=0.01)

    def test_the_dead_do_not_return(self, histories: pd.DataFrame) -> None:
        dead = histories[histories["discharge_disposition_id"].isin(DIED)]
        assert len(dead) / ROWS == pytest.approx(0.016, abs=0.003)
        assert not dead["later"].any()
        assert set(dead["readmitted"]) == {"NO"}


class TestConstraints:
    def test_medication_flag(self, frame: pd.DataFrame) -> None:
        taken = (frame[MEDICATIONS] != "No").any(axis=1)
        assert (taken == (frame["diabetesMed"] == "Yes")).all()

    def test_a_changed_dose_is_a_change(self, frame: pd.DataFrame) -> None:
        changed = frame[MEDICATIONS].isin(["Up", "Down"]).any(axis=1)
        flagged = frame["change"] == "Ch"
        assert flagged[changed].all()
        assert changed[flagged].mean() == pytest.approx(0.589, abs=0.02)
        assert (frame["diabetesMed"][flagged] == "Yes").all()

    @pytest.mark.parametrize("column", ["examide", "citoglipton"])
    def test_constant_columns(self, column: str, frame: pd.DataFrame) -> None:
        assert set(frame[column]) == {"No"}

    def test_few_diagnoses_leave_columns_missing(self, frame: pd.DataFrame) -> None:
        count = frame["number_diagnoses"].astype(int)
        assert (frame["diag_2"][count == 1] == "?").all()
        assert (frame["diag_3"][count <= 2] == "?").all()
        assert (frame["diag_3"][count > 2] == "?").mean() < 0.005
        assert (frame["diag_2"][count > 1] == "?").mean() < 0.005

    def test_no_man_is_pregnant(self, frame: pd.DataFrame) -> None:
        pregnant = (frame[["diag_1", "diag_2", "diag_3"]].apply(lambda code: code.str.match(r"6[3-7]\d"))).any(axis=1)
        assert pregnant.sum() > 100
        assert not (pregnant & (frame["gender"] == "Male")).any()


def encode(frame: pd.DataFrame) -> Floats:
    """Plain numbers: levels by their place, diagnoses by their code."""
    columns = []
    for column in schema.RECORD_COLUMNS:
        values = frame[column.name]
        if column.kind is schema.Kind.DIAGNOSIS:
            code = values.str.replace("V", "1").str.replace("E", "2").replace("?", "-1").astype(float)
            columns.append(code.to_numpy())
        elif column.is_number:
            columns.append(values.astype(float).to_numpy())
        else:
            place = {level: number for number, level in enumerate(column.levels)}
            columns.append(values.map(place).fillna(-1).astype(float).to_numpy())
    return np.column_stack(columns)


def fit(frame: pd.DataFrame) -> lightgbm.Booster:
    label = frame["readmitted"].map(schema.LABELS.index).to_numpy()
    options = {"objective": "multiclass", "num_class": 3, "max_depth": 5, "verbose": -1, "seed": 1, "num_threads": 1}
    return lightgbm.train(options, lightgbm.Dataset(encode(frame), label), num_boost_round=40)


def score(model: lightgbm.Booster, frame: pd.DataFrame) -> float:
    """Weighted one-vs-rest ROC-AUC."""
    label = frame["readmitted"].map(schema.LABELS.index).to_numpy()
    return float(roc_auc_score(label, model.predict(encode(frame)), multi_class="ovr", average="weighted"))


class TestLearning:
    def test_what_is_learned_holds_for_real_patients(self, frame: pd.DataFrame, real: pd.DataFrame) -> None:
        assert score(fit(frame), real) >= 0.66

    def test_it_is_not_easier_than_reality(self, frame: pd.DataFrame) -> None:
        held_out = frame["patient_nbr"].astype("int64") % 4 == 0
        assert 0.66 <= score(fit(frame[~held_out]), frame[held_out]) <= 0.73


def peak_bytes(path: Path, rows: int) -> int:
    """Peak memory of a process that writes so many rows."""
    code = (
        "import resource, sys; from pathlib import Path; "
        "from readmission.dataset.synthetic.records import write_synthetic; "
        "write_synthetic(Path(sys.argv[1]), int(sys.argv[2])); "
        "sys.stdout.write(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))"
    )
    command = [sys.executable, "-c", code, str(path), str(rows)]
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    few, many = peak_bytes(tmp_path / "few", 100_000), peak_bytes(tmp_path / "many", 1_000_000)
    assert (tmp_path / "many").stat().st_size > 150_000_000
    assert many - few < 50_000_000
