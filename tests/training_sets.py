"""Small prepared sets for the tests of training and registry, made from synthetic records without a database."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa

from readmission.features.columns import clean_columns
from readmission.features.encoder import Encoder
from readmission.schema import COLUMN_NAMES, LABEL_COLUMN, PATIENT_NBR
from readmission.training.preparation import Arrays, PreparedSet, encode_set, save_arrays, to_arrays


def read_raw(path: Path, rows: slice = slice(None)) -> pd.DataFrame:
    """Raw records as text, as the file writes them."""
    return pd.read_csv(path, dtype=str, keep_default_na=False)[list(COLUMN_NAMES)].iloc[rows].reset_index(drop=True)


def clean(raw: pd.DataFrame) -> pa.Table:
    table = pa.table({name: pa.array(raw[name].tolist(), pa.string()) for name in raw.columns})
    patients = pa.array([int(number) for number in raw[PATIENT_NBR]], pa.int64())
    kept = clean_columns(table).append_column(LABEL_COLUMN, table.column(LABEL_COLUMN))
    return kept.append_column(PATIENT_NBR, patients)


@dataclass(frozen=True)
class SmallSet:
    """Raw rows and what was made of them."""

    raw_train: pd.DataFrame
    raw_validation: pd.DataFrame
    encoder: Encoder
    train: Arrays
    validation: Arrays
    prepared: PreparedSet


def make_set(raw_train: pd.DataFrame, raw_validation: pd.DataFrame, folder: Path) -> SmallSet:
    table = clean(raw_train)
    encoder, train = encode_set(table)
    parts = {"train": train, "validation": to_arrays(encoder, clean(raw_validation))}
    folder.mkdir(parents=True, exist_ok=True)
    for part, arrays in parts.items():
        save_arrays(folder, part, arrays)
    prepared = PreparedSet(folder, encoder.model_dump_json(), len(raw_train), "0" * 32)
    return SmallSet(raw_train, raw_validation, encoder, parts["train"], parts["validation"], prepared)
