"""Synthetic hospital stays in the exact format of the source, for load tests, large files and examples.

Every value is drawn from counts of the published file (:mod:`readmission.dataset.synthetic.aggregates`); no record of
it is stored. Patients have several encounters as in reality: race and gender are constant, age never decreases, and an
encounter that is followed by another one is rarely ``NO``.
"""

import os
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from readmission import schema
from readmission.dataset.synthetic.aggregates import (
    LAST_LABEL,
    MAX_SIZE,
    PARENTS,
    PATIENT_PARENTS,
    TREATMENT,
    TREATMENT_COLUMNS,
    load_tables,
)
from readmission.dataset.synthetic.distributions import Codes
from readmission.dataset.synthetic.network import Network
from readmission.errors import BadInputError

FIRST_ID = 1_000_000_000
"""The smallest synthetic identifier; those of the source file are all below 500 million."""

CHUNK_ROWS = 50_000
"""Rows that are drawn and written at a time; a patient's encounters lie within one chunk."""

_LINE_END = "\r\n"
_DIED = ("11", "19", "20", "21")
_HOME = "1"
_PREGNANCY = frozenset(str(code) for code in range(630, 680))
_DIABETES = "250"
_BEFORE = tuple(name for name in schema.COLUMN_NAMES[:-1] if name not in TREATMENT_COLUMNS)
_WRITTEN = (*_BEFORE, TREATMENT, schema.LABEL_COLUMN)
"""The columns in the order of the file; those of the treatment are one."""


def write_synthetic(path: Path, rows: int, seed: int = 42, report: Callable[[int], None] | None = None) -> None:
    """Write a synthetic file, which appears under its name once it is complete.

    Args:
        path: the CSV to write; an older file is replaced.
        rows: number of encounters.
        seed: the same rows and seed give the same bytes.
        report: called after each chunk with the number of rows written so far.

    Raises:
        BadInputError: fewer than one row, or the file cannot be written.
    """
    if rows < 1:
        raise BadInputError("Synthetic data needs at least 1 row")
    network = Network.build(load_tables())
    random = np.random.default_rng(seed)
    patients = 0
    with _replacing(path) as file:
        file.write((",".join(schema.COLUMN_NAMES) + _LINE_END).encode())
        for start in range(0, rows, CHUNK_ROWS):
            stays = _draw_stays(network, random, min(CHUNK_ROWS, rows - start))
            file.write(_lines(network, random, stays, FIRST_ID + start, FIRST_ID + patients))
            patients += stays.patients
            if report is not None:
                report(start + len(stays.patient))


@dataclass(frozen=True, slots=True)
class _Stays:
    """Patients and outcomes of the encounters of a chunk, in the order of the file.

    Attributes:
        patient: patient of each row, counted from 0, shape ``(rows,)``.
        patients: number of patients.
        known: codes of the label and of the columns of the patient, each of shape ``(rows,)``.
        later: 1 where the patient has a later row.
    """

    patient: NDArray[np.int64]
    patients: int
    known: dict[str, Codes]
    later: Codes


def _draw_stays(network: Network, random: np.random.Generator, rows: int) -> _Stays:
    """Draw patients, their histories and labels."""
    sizes = _draw_sizes(network, random, rows)
    last = np.cumsum(sizes) - 1
    first = last - sizes + 1
    patient = np.repeat(np.arange(len(sizes)), sizes)
    size = (np.minimum(sizes, MAX_SIZE) - 1).astype(np.int32)
    later = np.ones(rows, dtype=np.int32)
    later[last] = 0
    label = network.variables[schema.LABEL_COLUMN].draw(random, {"later": later, "size": size[patient]})
    whose: dict[str, Codes] = {"size": size, LAST_LABEL: label[last]}
    for name in PATIENT_PARENTS:
        whose[name] = network.variables[name].draw(random, whose)
    known = {name: whose[name][patient] for name in PATIENT_PARENTS} | {schema.LABEL_COLUMN: label}
    known["age"] = _grow_older(network, random, known["age"], first, sizes)
    # a random position in the file for every encounter, ascending within a patient
    position = np.sort(patient * rows + random.permutation(rows)) % rows
    order = np.empty(rows, dtype=np.int64)
    order[position] = np.arange(rows)
    known = {name: code[order] for name, code in known.items()}
    number = random.permutation(len(sizes))  # so that the number does not reveal the length of the patient's history
    return _Stays(number[patient[order]], len(sizes), known, later[order])


def _draw_sizes(network: Network, random: np.random.Generator, rows: int) -> NDArray[np.int64]:
    """Draw encounters per patient until their sum reaches ``rows``; the last patient is cut to fit."""
    numbers = np.array(network.sizes.texts.to_pylist(), dtype=np.int64)
    ends = np.cumsum(numbers[network.sizes.draw(random, np.zeros(rows, dtype=np.int32))])
    ends = ends[: np.searchsorted(ends, rows) + 1]
    ends[-1] = rows
    return np.diff(ends, prepend=0)


def _grow_older(
    network: Network, random: np.random.Generator, age: Codes, first: NDArray[np.int64], sizes: NDArray[np.int64]
) -> Codes:
    """Move a patient into the next age band after some encounters."""
    step = network.variables["step"].draw(random, {"age": age})
    step[first] = 0
    steps = np.cumsum(step)
    grown = age + steps - np.repeat(steps[first], sizes)
    older: Codes = np.minimum(grown, len(schema.AGE_BANDS) - 1).astype(np.int32)
    return older


def _lines(
    network: Network, random: np.random.Generator, stays: _Stays, first_encounter: int, first_patient: int
) -> memoryview:
    """Draw the encounters and write them as CSV lines."""
    known = dict(stays.known)
    for name in PARENTS:
        known[name] = network.variables[name].draw(random, known)
    indices = {name: words.draw(random, known[name]) for name, words in network.words.items()}
    _correct_impossible(network, stays, indices)
    columns = {name: words.texts.take(pa.array(indices[name])) for name, words in network.words.items()}
    rows = len(stays.patient)
    columns[schema.ENCOUNTER_ID] = pa.array(np.arange(first_encounter, first_encounter + rows)).cast(pa.string())
    columns[schema.PATIENT_NBR] = pa.array(first_patient + stays.patient).cast(pa.string())
    ends = pa.array([label + _LINE_END for label in schema.LABELS])
    columns[schema.LABEL_COLUMN] = ends.take(pa.array(known[schema.LABEL_COLUMN]))
    # a string array stores its texts one after the other: with line ends, its data buffer is the CSV
    lines = pc.binary_join_element_wise(*(columns[name] for name in _WRITTEN), ",")
    _, offsets, text = lines.buffers()
    return memoryview(text)[: int(np.frombuffer(offsets, dtype=np.int32)[rows])]


def _correct_impossible(network: Network, stays: _Stays, indices: dict[str, Codes]) -> None:
    """Correct combinations of values that are impossible: the network only knows probabilities of a few columns."""

    def holds(name: str, texts: Container[str]) -> NDArray[np.bool_]:
        return np.array([text in texts for text in network.words[name].texts.to_pylist()]).take(indices[name])

    def write(name: str, rows: NDArray[np.bool_], text: str) -> None:
        indices[name][rows] = network.words[name].texts.index(text).as_py()

    write("discharge_disposition_id", holds("discharge_disposition_id", _DIED) & (stays.later == 1), _HOME)
    male = holds("gender", ("Male",))
    for name in ("diag_1", "diag_2", "diag_3"):
        write(name, holds(name, _PREGNANCY) & male, _DIABETES)
    write("diag_2", holds("number_diagnoses", ("1",)), schema.MISSING)
    write("diag_3", holds("number_diagnoses", ("1", "2")), schema.MISSING)


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file in the same folder; rename it to ``path`` at the end, delete it after an error."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as file:
                yield file
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise BadInputError(f"Cannot write {path}: {error.strerror}; choose another path") from error
