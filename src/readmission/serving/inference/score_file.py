"""Score a file of any size on the model in production: CSV or Parquet in, CSV or Parquet out, a chunk at a time."""

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from readmission.errors import BadInputError
from readmission.schema import BY_NAME, IDENTIFIERS, LABEL_COLUMN, LABELS
from readmission.serving.inference.batch import Scores, score_batch
from readmission.serving.inference.errors import InvalidFieldsError
from readmission.serving.inference.scorer import Scorer
from readmission.serving.inference.validation import check_columns

PARQUET = ".parquet"
ROWS = 65_536
_BLOCK = 16 << 20

Report = Callable[[int], None]


def score_file(scorer: Scorer, source: Path, target: Path, report: Report) -> int:
    """Score a file.

    Args:
        scorer: the model.
        source: CSV with a header, or Parquet, by its name; identifiers and the outcome may be in it.
        target: written anew: identifiers, class, probabilities, model version. Appears only when it is whole.
        report: told how many rows are done.

    Returns:
        rows.

    Raises:
        BadInputError: the source cannot be read, or a value is wrong; the target stays as it was.
    """
    unfinished = target.with_name(f".{target.name}.part")
    try:
        with _writing(unfinished, target.suffix) as write:
            rows = _score(scorer, source, write, report)
        unfinished.replace(target)
    except OSError as error:
        raise BadInputError(f"{error.filename or source}: {error.strerror or 'cannot be read'}") from None
    except InvalidFieldsError as invalid:
        first = invalid.errors[0]
        raise BadInputError(f"{source}: {first.field}: {first.detail}") from None
    finally:
        unfinished.unlink(missing_ok=True)
    return rows


def _score(scorer: Scorer, source: Path, write: Callable[[pa.Table], None], report: Report) -> int:
    done = 0
    for part in _read(source):
        identifiers = part.select([name for name in IDENTIFIERS if name in part.column_names])
        wanted = [name for name in part.column_names if name not in (*IDENTIFIERS, LABEL_COLUMN)]
        raw = check_columns(_encoded(part.select(wanted)), partial(_row, done))
        place = 0
        for scores in score_batch(scorer, raw):
            write(_answers(identifiers.slice(place, len(scores.labels)), scores, scorer.version))
            place += len(scores.labels)
        done += part.num_rows
        report(done)
    return done


def _row(before: int, number: int) -> str:
    return f"row {before + number + 1}, "


def _read(source: Path) -> Iterator[pa.Table]:
    try:
        if source.suffix == PARQUET:
            file = pq.ParquetFile(source)
            _check_names(source, file.schema_arrow.names)
            for batch in file.iter_batches(ROWS):
                yield pa.Table.from_batches([batch])
            return
        names = _csv_names(source)
        options = pacsv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False)
        with pacsv.open_csv(source, pacsv.ReadOptions(block_size=_BLOCK), convert_options=options) as reader:
            for batch in reader:
                yield pa.Table.from_batches([batch])
    except pa.ArrowInvalid:  # its message quotes the row
        raise BadInputError(f"{source}: a row does not have the fields of the header, or the file is damaged") from None


def _csv_names(source: Path) -> list[str]:
    with source.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        names = next(csv.reader(file), [])
    _check_names(source, names)
    return names


def _check_names(source: Path, names: Sequence[str]) -> None:
    unknown = [name for name in names if name not in BY_NAME]
    if unknown or not names:
        what = f"column {unknown[0]} is no field of a record" if unknown else "it is empty"
        raise BadInputError(f"{source}: {what}")


def _encoded(table: pa.Table) -> pa.Table:
    """Every column as dictionary of text, numbers in digits."""
    columns = {}
    for name in table.column_names:
        column = table.column(name).combine_chunks()
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        columns[name] = pc.dictionary_encode(column.cast(pa.string()), null_encoding="encode")
    return pa.table(columns)


def _answers(identifiers: pa.Table, scores: Scores, version: str) -> pa.Table:
    answers = {name: identifiers.column(name) for name in identifiers.column_names}
    answers["readmission_prediction"] = pa.array(np.array(LABELS)[scores.labels])
    for label in ("NO", "<30", ">30"):
        answers[f"probability_{label}"] = pa.array(scores.probabilities[:, LABELS.index(label)])
    answers["model_version"] = pa.array([version] * len(scores.labels))
    return pa.table(answers)


@contextmanager
def _writing(path: Path, suffix: str) -> Iterator[Callable[[pa.Table], None]]:
    """Open a writer whose schema is that of the first table."""
    writers: list[pq.ParquetWriter | pacsv.CSVWriter] = []

    def write(table: pa.Table) -> None:
        if not writers:
            kind = pq.ParquetWriter if suffix == PARQUET else pacsv.CSVWriter
            writers.append(kind(str(path), table.schema))
        writers[0].write_table(table)

    try:
        yield write
        if not writers:
            raise BadInputError("the file holds no rows")
    finally:
        for writer in writers:
            writer.close()
