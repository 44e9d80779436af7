"""What a field of a record may hold. One check per column, used for bodies, batches and files alike."""

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa

from readmission.features.record import RawValue, as_text
from readmission.schema import BY_NAME, MISSING, RECORD_COLUMNS, Column
from readmission.serving.inference.errors import MAX_ERRORS, FieldError, InvalidFieldsError

MAX_TEXT = 100
"""Longest text of a field, in characters; the longest word of the source has 36."""

Check = Callable[[object], RawValue]
RowName = Callable[[int], str]
"""Names a row, counted from 0, in an error: ``line 3, ``."""


class WrongValueError(ValueError):
    """A value that a field may not hold; the message says what it must be, never what it was."""


def check_of(column: Column) -> Check:
    """Make the check of a column: takes a value as JSON has it, returns the value to score; None is missing."""
    return _number(column) if column.is_number else _text


def text_check_of(column: Column) -> Check:
    """The same for a value that is always text, as in CSV: a number is written in digits, nothing is missing."""
    check = check_of(column)

    def read(value: object) -> RawValue:
        if value is None or value == "":
            return None
        if column.is_number and isinstance(value, str) and value != MISSING:
            return check(_whole(value))
        return check(value)

    return read


def check_record(values: Sequence[object]) -> tuple[RawValue, ...]:
    """Check a record.

    Args:
        values: one for each of ``schema.RECORD_COLUMNS``, in their order; None is missing.

    Returns:
        the values to score, in the same order.

    Raises:
        InvalidFieldsError: a value is wrong; all that are wrong are named.
    """
    errors: list[FieldError] = []
    checked = []
    for (name, check), value in zip(_CHECKS, values, strict=True):
        try:
            checked.append(check(value))
        except WrongValueError as error:
            errors.append(FieldError(name, str(error)))
    if errors:
        raise InvalidFieldsError(errors)
    return tuple(checked)


def check_columns(table: pa.Table, row_name: RowName) -> pa.Table:
    """Check dictionary columns of text, every distinct value once.

    Args:
        table: dictionary columns under the source's names.
        row_name: names a row in an error.

    Returns:
        the same columns as they are scored; missing is ``?``.

    Raises:
        InvalidFieldsError: a value is wrong.
    """
    errors: list[FieldError] = []
    checked = {}
    for name in table.column_names:
        column = table.column(name).combine_chunks()
        if isinstance(column, pa.ChunkedArray):
            column = column.chunk(0) if column.num_chunks else pa.array([], column.type)
        check, levels = text_check_of(BY_NAME[name]), column.dictionary.to_pylist()
        texts = check_levels(name, check, levels, np.asarray(column.indices), row_name, errors)
        checked[name] = pa.DictionaryArray.from_arrays(column.indices, pa.array(texts, pa.string()))
    if errors:
        raise InvalidFieldsError(errors)
    return pa.table(checked)


def check_levels(
    name: str,
    check: Check,
    levels: Sequence[object],
    indices: "np.ndarray[tuple[int], np.dtype[np.integer]]",
    row_name: RowName,
    errors: list[FieldError],
) -> list[str]:
    """Check the distinct values of one column.

    Args:
        name: of the column.
        check: of the column.
        levels: the distinct values.
        indices: into ``levels``, shape (rows,).
        row_name: names a row in an error.
        errors: rows that hold a wrong value are added, up to ``MAX_ERRORS`` in all.

    Returns:
        the text to score for each level.
    """
    texts = []
    for number, level in enumerate(levels):
        value: RawValue = None
        try:
            value = check(level)
        except WrongValueError as error:
            rows = np.flatnonzero(indices == number)[: MAX_ERRORS - len(errors)]
            errors.extend(FieldError(f"{row_name(int(row))}{name}", str(error)) for row in rows)
        texts.append(as_text(value))
    return texts


def _whole(text: str) -> object:
    """A whole number if it is written as one, else the text, which no number's check takes."""
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) <= 18 else text


def _number(column: Column) -> Check:
    message = f'must be a whole number from {column.low} to {column.high}, "?" or null'

    def check(value: object) -> RawValue:
        if isinstance(value, float) and value.is_integer():  # 41.0 is one, as in JSON Schema
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and column.low <= value <= column.high:
            return value
        if value is None or value == MISSING:
            return None
        raise WrongValueError(message)

    return check


def _text(value: object) -> RawValue:
    if value is None or (isinstance(value, str) and len(value) <= MAX_TEXT):
        return value
    raise WrongValueError(f"must be text of up to {MAX_TEXT} characters or null")


_CHECKS = tuple((f"features.{column.name}", check_of(column)) for column in RECORD_COLUMNS)
