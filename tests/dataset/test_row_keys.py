import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from readmission.dataset.row_keys import Keys, read_keys
from readmission.schema import COLUMNS, LABELS, MAX_ID


def write_rows(path: Path, rows: list[tuple[int, int, str]], end: str = "\r\n", last_end: bool = True) -> Path:
    example = [column.example for column in COLUMNS]
    lines = [",".join(column.name for column in COLUMNS)]
    lines += [",".join([str(encounter), str(patient), *example[2:-1], label]) for encounter, patient, label in rows]
    path.write_bytes((end.join(lines) + (end if last_end else "")).encode())
    return path


def as_rows(keys: Keys) -> list[tuple[int, int, str]]:
    labels = [LABELS[code] for code in keys.labels]
    return list(zip(keys.encounter_id.tolist(), keys.patient_nbr.tolist(), labels, strict=True))


ROWS = [(12, 7, "NO"), (3, 7, "<30"), (MAX_ID, 1, ">30"), (0, MAX_ID, "NO")]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last_end", [True, False])
def test_keys_in_the_order_of_the_file(tmp_path: Path, end: str, last_end: bool) -> None:
    keys = read_keys(write_rows(tmp_path / "stays.csv", ROWS, end, last_end))
    assert as_rows(keys) == ROWS
    assert (keys.encounter_id.dtype, keys.patient_nbr.dtype, keys.labels.dtype) == (np.int64, np.int64, np.int8)


def test_a_file_of_many_blocks(tmp_path: Path) -> None:
    rows = [(number * 3, number // 2, LABELS[number % 3]) for number in range(12_000)]
    path = write_rows(tmp_path / "stays.csv", rows)
    assert path.stat().st_size > 2 << 20
    assert as_rows(read_keys(path)) == rows


def test_the_real_file(real_csv: Path) -> None:
    keys = read_keys(real_csv)
    assert {LABELS[code]: count for code, count in Counter(keys.labels.tolist()).items()} == {
        "NO": 54_864,
        ">30": 35_545,
        "<30": 11_357,
    }
    assert len(np.unique(keys.encounter_id)) == 101_766
    assert len(np.unique(keys.patient_nbr)) == 71_518
    with real_csv.open(newline="") as file:
        rows = [(int(row["encounter_id"]), int(row["patient_nbr"]), row["readmitted"]) for row in csv.DictReader(file)]
    assert as_rows(keys) == rows
