"""Count the published file into the tables that synthetic records are drawn from.

``python -m readmission.dataset.synthetic.aggregates CSV`` writes ``synthetic_tables.json.gz`` in this folder. The
tables hold counts of at least ``MIN_CELL`` encounters or patients and nothing else: rarer values are merged into
ranges, rarer combinations into one remainder, and what is still rarer is left out. Identifiers only serve to order and
group rows.

The network: every column is drawn given the label and one or two other columns (a k-dependence Bayesian classifier,
M. Sahami, "Learning limited dependence Bayesian classifiers", KDD 1996; the parents were picked by conditional mutual
information given the label). The 25 columns of the treatment are one variable, so they always fit together.
"""

import argparse
import gzip
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from readmission import schema
from readmission.dataset.csvfile import open_batches
from readmission.dataset.synthetic.distributions import Codes
from readmission.dataset.verify import verify
from readmission.errors import BadInputError, ReadmissionError
from readmission.schema import Kind

MIN_CELL = 11
"""The smallest count that is kept: the usual rule of US health statistics is to suppress cells of 1 to 10."""

MIN_ROWS = 10_000
"""A smaller file would have too few cells left after suppression."""

TABLES_FILE = Path(__file__).with_name("synthetic_tables.json.gz")
TREATMENT = "treatment"
TREATMENT_COLUMNS: tuple[str, ...] = (*schema.MEDICATIONS, "change", "diabetesMed")
LAST_LABEL = "last_label"
_LARGE_CELL = 500
"""If the largest cell has at least this many rows, a remainder below ``MIN_CELL`` (at most 2 % of it) is left out."""

MAX_SIZE = 6
"""Patients with this many encounters or more are counted together."""

PARENTS: dict[str, tuple[str, ...]] = {
    "number_inpatient": (schema.LABEL_COLUMN, "age"),
    "number_emergency": (schema.LABEL_COLUMN, "number_inpatient", "age"),
    "number_outpatient": (schema.LABEL_COLUMN, "number_emergency", "number_inpatient"),
    "diag_1": ("gender", schema.LABEL_COLUMN, "age"),
    "discharge_disposition_id": (schema.LABEL_COLUMN, "age", "diag_1"),
    "number_diagnoses": (schema.LABEL_COLUMN, "age", "diag_1"),
    "admission_source_id": (schema.LABEL_COLUMN, "diag_1", "number_diagnoses"),
    "medical_specialty": (schema.LABEL_COLUMN, "diag_1", "admission_source_id"),
    "admission_type_id": ("admission_source_id", "medical_specialty", schema.LABEL_COLUMN),
    "time_in_hospital": (schema.LABEL_COLUMN, "discharge_disposition_id", "diag_1"),
    "num_medications": (schema.LABEL_COLUMN, "time_in_hospital", "diag_1"),
    TREATMENT: (schema.LABEL_COLUMN, "num_medications", "age"),
    "num_procedures": (schema.LABEL_COLUMN, "diag_1", "num_medications"),
    "diag_2": ("number_diagnoses", schema.LABEL_COLUMN, "diag_1"),
    "diag_3": ("number_diagnoses", schema.LABEL_COLUMN, "diag_1"),
    "payer_code": (schema.LABEL_COLUMN, "age", "medical_specialty"),
    "weight": ("medical_specialty", schema.LABEL_COLUMN),
    "num_lab_procedures": ("admission_source_id", "time_in_hospital", schema.LABEL_COLUMN),
    "A1Cresult": ("num_lab_procedures", "diag_1", schema.LABEL_COLUMN),
    "max_glu_serum": ("admission_source_id", "num_lab_procedures"),
}
"""Parents of each column of an encounter, in drawing order; the first parents have most influence."""

PATIENT_PARENTS: dict[str, tuple[str, ...]] = {
    "race": ("size", LAST_LABEL),
    "gender": ("size", LAST_LABEL, "race"),
    "age": ("size", LAST_LABEL, "race"),
}
"""Parents of the columns of a patient, counted at the first encounter."""

_GROUP_SHARE: dict[Kind, float] = {Kind.CATEGORY: 0.005, Kind.CODE: 0.005, Kind.COUNT: 0.02, Kind.DIAGNOSIS: 0.002}
_OWN_SHARE: dict[str, float] = {
    "age": 0.0,  # every band stays a group of its own, so that age keeps its order
    "number_diagnoses": 0.0,  # one or two diagnoses mean that diag_2 or diag_3 is missing
    "number_inpatient": 0.002,
    "number_emergency": 0.002,
    "number_outpatient": 0.005,
    "num_lab_procedures": 0.04,
}
"""Smallest share of rows that a group may have, by kind of column and for some columns."""


class Group(TypedDict):
    """Values that form one level, as the file writes them (a range as ``low..high``), and their counts."""

    values: list[str]
    counts: list[int]


class Table(TypedDict):
    """Stored cells of a contingency table: flat index into ``(*parents, levels + 1)``; the last is the remainder."""

    cells: list[int]
    counts: list[int]


class Node(TypedDict):
    """One variable: its parents, and its tables given no parent, the first, the first two, and so on."""

    parents: list[str]
    tables: list[Table]


class Tables(TypedDict):
    """All data that synthetic records are drawn from.

    ``groups``: by column; nodes refer to them by number. ``nodes``: the network. ``sizes``: encounters
    per patient. ``extras``: by ``change``, rare medications of treated patients that no stored treatment has.
    """

    minimum_cell: int
    rows: int
    groups: dict[str, list[Group]]
    nodes: dict[str, Node]
    sizes: Group
    extras: dict[str, Group]


def build_tables(path: Path) -> Tables:
    """Count the published file.

    Args:
        path: the CSV, 50 columns.

    Raises:
        BadInputError: the file is not in the source's format, or it has too few rows.
    """
    source = _read(path)
    codes: dict[str, Codes] = {}
    groups: dict[str, list[Group]] = {}
    for column in schema.RECORD_COLUMNS:
        if column.name not in TREATMENT_COLUMNS:
            groups[column.name], codes[column.name] = _grouped(column, source[column.name])
    treatment = pc.binary_join_element_wise(*(source[name] for name in TREATMENT_COLUMNS), ",").combine_chunks()
    groups[TREATMENT], codes[TREATMENT] = _by_key(treatment, _regimens(source), 0.005)
    codes[schema.LABEL_COLUMN] = _positions(source[schema.LABEL_COLUMN], schema.LABELS)
    levels = {name: len(members) for name, members in groups.items()} | {schema.LABEL_COLUMN: len(schema.LABELS)}
    nodes = {name: _node(name, parents, codes, levels) for name, parents in PARENTS.items()}
    sizes, patient_nodes = _patients(source, codes, levels)
    return {
        "minimum_cell": MIN_CELL,
        "rows": source.num_rows,
        "groups": groups,
        "nodes": nodes | patient_nodes,
        "sizes": sizes,
        "extras": _extras(source, treatment, groups[TREATMENT]),
    }


def load_tables(path: Path = TABLES_FILE) -> Tables:
    """Read stored tables."""
    tables: Tables = json.loads(gzip.decompress(path.read_bytes()))
    return tables


def save_tables(tables: Tables, path: Path = TABLES_FILE) -> None:
    """Store tables; the same tables always give the same bytes."""
    text = json.dumps(tables, separators=(",", ":"))
    path.write_bytes(gzip.compress(text.encode(), mtime=0))


def main(arguments: Sequence[str] | None = None) -> int:
    """Count the CSV named on the command line and store the tables; returns the exit code."""
    parser = argparse.ArgumentParser(description="Count the published CSV into the tables of the synthetic records")
    parser.add_argument("csv", type=Path)
    parser.add_argument("--output", type=Path, default=TABLES_FILE)
    options = parser.parse_args(arguments)
    try:
        save_tables(build_tables(options.csv), options.output)
    except ReadmissionError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


def _read(path: Path) -> pa.Table:
    rows = verify(path, path.name)
    if rows < MIN_ROWS:
        raise BadInputError(
            f"{path.name}: {rows} rows are too few to make tables from; give a file of at least {MIN_ROWS}"
        )
    return pa.Table.from_batches(open_batches(path)).combine_chunks()


def _positions(values: pa.ChunkedArray, levels: Sequence[str]) -> Codes:
    found = pc.index_in(values, value_set=pa.array(levels))
    return np.asarray(found, dtype=np.int32)


def _grouped(column: schema.Column, values: pa.ChunkedArray) -> tuple[list[Group], Codes]:
    """Put the values of a column into groups; return them and the group of every row."""
    share = _OWN_SHARE.get(column.name, _GROUP_SHARE[column.kind])
    if column.kind is Kind.COUNT:
        return _number_groups(np.asarray(values.cast(pa.int32())), share)
    if column.kind is Kind.DIAGNOSIS:
        whole = pc.list_element(pc.split_pattern(values, "."), 0)
        return _by_key(values, pc.utf8_slice_codeunits(pc.utf8_lpad(whole, 3, "0"), 0, 2), share)
    return _by_key(values, values, share)


def _by_key(values: pa.ChunkedArray, keys: pa.ChunkedArray, share: float) -> tuple[list[Group], Codes]:
    """One group per key with that share of the rows, in order of keys, and a last one for all other keys."""
    kept = pc.is_in(values, value_set=pa.array(_kept_values(values)["values"], pa.string()))
    tally = {item["values"]: item["counts"] for item in pc.value_counts(keys.filter(kept)).to_pylist()}
    frequent = sorted(key for key, count in tally.items() if count >= max(share * len(keys), MIN_CELL))
    code = np.asarray(
        pc.fill_null(pc.index_in(keys, value_set=pa.array(frequent, pa.string())), len(frequent)), dtype=np.int32
    )
    groups = [_kept_values(values.filter(pa.array(code == number))) for number in range(code.max() + 1)]
    if not groups[-1]["values"]:  # the other keys have fewer than MIN_CELL rows: those rows are left out
        groups.pop()
        code = np.where(code == len(groups), np.int32(-1), code)
    return groups, code


def _kept_values(values: pa.ChunkedArray) -> Group:
    kept = [item for item in pc.value_counts(values).to_pylist() if item["counts"] >= MIN_CELL]
    kept.sort(key=lambda item: str(item["values"]))
    return {"values": [item["values"] for item in kept], "counts": [item["counts"] for item in kept]}


def _number_groups(numbers: NDArray[np.int32], share: float) -> tuple[list[Group], Codes]:
    """Groups of neighbouring numbers with at least that share of the rows each."""
    values, counts = np.unique(numbers, return_counts=True)
    ranges = _merged(values, counts, max(int(share * len(numbers)), MIN_CELL))
    code = np.searchsorted([high for _, high, _ in ranges], numbers).astype(np.int32)
    groups = [_number_group(numbers[code == number]) for number in range(len(ranges))]
    return groups, code


def _number_group(numbers: NDArray[np.int32]) -> Group:
    ranges = _merged(*np.unique(numbers, return_counts=True), MIN_CELL)
    texts = [str(low) if low == high else f"{low}..{high}" for low, high, _ in ranges]
    return {"values": texts, "counts": [count for _, _, count in ranges]}


def _merged(values: NDArray[np.int32], counts: NDArray[np.int64], least: int) -> list[tuple[int, int, int]]:
    """Merge neighbours until each range has at least that count: ``(low, high, count)``, ascending."""
    ranges: list[tuple[int, int, int]] = []
    low, total = None, 0
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        low, total = value if low is None else low, total + count
        if total >= least:
            ranges.append((low, value, total))
            low, total = None, 0
    if total and ranges:
        start, _, before = ranges.pop()
        ranges.append((start, int(values[-1]), before + total))
    return ranges


def _node(name: str, parents: Sequence[str], codes: dict[str, Codes], levels: dict[str, int]) -> Node:
    """Count a variable given none, one, two, ... of its parents."""
    tables = [
        _table(codes[name], levels[name], [(codes[parent], levels[parent]) for parent in parents[:depth]])
        for depth in range(len(parents) + 1)
    ]
    return {"parents": list(parents), "tables": tables}


def _table(child: Codes, levels: int, parents: Sequence[tuple[Codes, int]]) -> Table:
    known = np.logical_and.reduce([child >= 0, *(code >= 0 for code, _ in parents)])
    context = np.zeros(len(child), dtype=np.int64)
    contexts = 1
    for code, count in parents:
        context = context * count + code
        contexts *= count
    counts = np.bincount(context[known] * levels + child[known], minlength=contexts * levels)
    counts = counts.reshape(contexts, levels)
    shown = np.where(counts >= MIN_CELL, counts, 0)
    rest = counts.sum(axis=1) - shown.sum(axis=1)
    # a remainder below MIN_CELL absorbs the smallest cell: leaving it out would bias towards frequent levels
    smallest = np.where(shown > 0, shown, _LARGE_CELL).argmin(axis=1)
    amount = shown[np.arange(contexts), smallest]
    grows = (rest > 0) & (rest < MIN_CELL) & (amount > 0) & (amount < _LARGE_CELL)
    rest += np.where(grows, amount, 0)
    shown[grows, smallest[grows]] = 0
    flat = np.column_stack([shown, np.where(rest >= MIN_CELL, rest, 0)]).ravel()
    cells = np.flatnonzero(flat)
    return {"cells": cells.tolist(), "counts": flat[cells].tolist()}


def _regimens(source: pa.Table) -> pa.ChunkedArray:
    names = ("metformin", "insulin", "change", "diabetesMed")
    return pc.binary_join_element_wise(*(source[name] for name in names), ",")


def _extras(source: pa.Table, treatment: pa.ChunkedArray, groups: Sequence[Group]) -> dict[str, Group]:
    """Medications in rows of suppressed treatments that the stored treatments do not account for."""
    kept = pc.is_in(treatment, value_set=pa.array([text for group in groups for text in group["values"]]))
    extras: dict[str, Group] = {}
    for change in schema.BY_NAME["change"].levels:
        treated = pc.and_(pc.equal(source["change"], change), pc.equal(source["diabetesMed"], "Yes"))
        rows, shown = source.filter(treated), source.filter(pc.and_(treated, kept))
        extra: Group = {"values": [], "counts": []}
        for name in schema.MEDICATIONS:
            for level in schema.BY_NAME[name].levels[1:]:
                total, seen = (pc.sum(pc.equal(part[name], level)).as_py() or 0 for part in (rows, shown))
                lost = round(total - seen * rows.num_rows / max(shown.num_rows, 1))
                if lost >= MIN_CELL:
                    extra["values"].append(f"{name}={level}")
                    extra["counts"].append(lost)
        extras[change] = extra
    return extras


def _patients(source: pa.Table, codes: dict[str, Codes], levels: dict[str, int]) -> tuple[Group, dict[str, Node]]:
    """Count encounters per patient, labels by position in the history, and the columns of the patient."""
    encounter, patient = (np.asarray(source[name].cast(pa.int64())) for name in schema.IDENTIFIERS)
    order = np.lexsort((encounter, patient))
    starts = np.flatnonzero(np.diff(patient[order], prepend=-1))
    sizes = np.diff(starts, append=len(order))
    size = (np.minimum(sizes, MAX_SIZE) - 1).astype(np.int32)
    last = starts + sizes - 1
    later = np.ones(len(order), dtype=np.int32)
    later[last] = 0
    label, age = codes[schema.LABEL_COLUMN][order], codes["age"][order]
    by_row = {schema.LABEL_COLUMN: label, "later": later, "size": np.repeat(size, sizes)}
    by_patient = {name: codes[name][order][starts] for name in PATIENT_PARENTS}
    by_patient |= {"size": size, LAST_LABEL: label[last]}
    steps = {"step": (age[1:] > age[:-1]).astype(np.int32)[later[:-1] == 1], "age": age[:-1][later[:-1] == 1]}
    levels = levels | {"size": MAX_SIZE, "later": 2, LAST_LABEL: len(schema.LABELS), "step": 2}
    nodes = {name: _node(name, parents, by_patient, levels) for name, parents in PATIENT_PARENTS.items()}
    nodes[schema.LABEL_COLUMN] = _node(schema.LABEL_COLUMN, ("later", "size"), by_row, levels)
    nodes["step"] = _node("step", ("age",), steps, levels)
    return _number_group(sizes.astype(np.int32)), nodes


if __name__ == "__main__":
    sys.exit(main())
