"""Many records at once: JSON, lines of JSON or CSV to raw text columns, every value checked as in ``/predict``.

A column has few distinct values, so each is checked once. All errors are told by row and field, never by value.
"""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from readmission.features.record import RawValue, as_text
from readmission.schema import BY_NAME, IDENTIFIERS, LABEL_COLUMN, RECORD_COLUMNS, Column
from readmission.serving.http.problems import INVALID_JSON, MOST_ERRORS, FieldError, ProblemError, invalid_fields
from readmission.serving.inference.validation import Check, WrongValueError, check_of, text_check_of

_IGNORED = frozenset((*IDENTIFIERS, LABEL_COLUMN))

Record = dict[str, int | float | str | None]
Place = Callable[[int], str]
"""Names a row, counted from 0, in an error."""


class _Records(msgspec.Struct, forbid_unknown_fields=True):
    records: list[Record]


_DECODER = msgspec.json.Decoder(_Records)
_LINE_DECODER = msgspec.json.Decoder(Record)


def read_json(body: bytes) -> pa.Table:
    """Read ``{"records": [{...}, ...]}``.

    Returns:
        n rows, a text column for each field that a record has.

    Raises:
        ProblemError: it is something else (400), or a field is wrong (422).
    """
    place = partial(_text, "records.{}.", 0)
    return _from_records(_decode(lambda: _DECODER.decode(body).records, lambda: _any_records(body), place), place)


def read_ndjson(body: bytes) -> pa.Table:
    """Read one JSON object per line; see ``read_json``."""
    place = partial(_text, "line {}, ", 1)
    any_lines = msgspec.json.Decoder().decode_lines
    return _from_records(_decode(lambda: _LINE_DECODER.decode_lines(body), lambda: any_lines(body), place), place)


def read_csv(body: bytes) -> pa.Table:
    """Read CSV with a header; an empty field is missing; see ``read_json``."""
    names = _header(body)
    _check_names(names, "header, ")
    wanted = [name for name in names if name not in _IGNORED]
    options = pacsv.ConvertOptions(
        column_types={name: pa.dictionary(pa.int32(), pa.string()) for name in wanted},
        include_columns=wanted,
        strings_can_be_null=False,
    )
    ragged: list[int] = []

    def refuse(row: pacsv.InvalidRow) -> str:
        ragged.append(row.number or 0)
        return "error"

    try:
        table = pacsv.read_csv(
            pa.BufferReader(body),
            read_options=pacsv.ReadOptions(use_threads=False),
            parse_options=pacsv.ParseOptions(invalid_row_handler=refuse, newlines_in_values=False),
            convert_options=options,
        )
    except pa.ArrowInvalid:  # its message quotes the row
        where = f"line {ragged[0]}" if ragged else "body"
        detail = f"must have {len(names)} fields, as the header" if ragged else "must be CSV in UTF-8"
        raise invalid_fields([FieldError(where, detail)]) from None
    return check_columns(table.unify_dictionaries().combine_chunks(), partial(_text, "line {}, ", 2))


def check_columns(table: pa.Table, place: Place) -> pa.Table:
    """Check dictionary columns of text, every distinct value once.

    Args:
        table: dictionary columns under the source's names.
        place: names a row.

    Returns:
        the same columns as they are scored; missing is ``?``.

    Raises:
        ProblemError: a value is wrong (422).
    """
    errors: list[FieldError] = []
    checked = {}
    for name in table.column_names:
        column = table.column(name).combine_chunks()
        if isinstance(column, pa.ChunkedArray):
            column = column.chunk(0) if column.num_chunks else pa.array([], column.type)
        levels = column.dictionary.to_pylist()
        texts = _check_levels(BY_NAME[name], levels, text_check_of, np.asarray(column.indices), place, errors)
        checked[name] = pa.DictionaryArray.from_arrays(column.indices, pa.array(texts, pa.string()))
    if errors:
        raise invalid_fields(errors)
    return pa.table(checked)


def _check_levels(
    column: Column,
    levels: Sequence[object],
    check_for: Callable[[Column], Check],
    indices: "np.ndarray[tuple[int], np.dtype[np.integer]]",
    place: Place,
    errors: list[FieldError],
) -> list[str]:
    check = check_for(column)
    texts = []
    for number, level in enumerate(levels):
        value: RawValue = None
        try:
            value = check(level)
        except WrongValueError as error:
            rows = np.flatnonzero(indices == number)[: MOST_ERRORS - len(errors)]
            errors.extend(FieldError(f"{place(int(row))}{column.name}", str(error)) for row in rows)
        texts.append(as_text(value))
    return texts


def _text(template: str, first: int, row: int) -> str:
    return template.format(row + first)


def _decode(read: Callable[[], list[Record]], read_any: Callable[[], list[Any]], place: Place) -> list[Record]:
    """Decode records; where their types are wrong, decode whatever it is and say which field it was."""
    try:
        try:
            return read()
        except msgspec.ValidationError:
            return _check_shapes(read_any(), place)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ProblemError(INVALID_JSON, "The body cannot be read as JSON in UTF-8.") from None


def _any_records(body: bytes) -> list[Any]:
    content = msgspec.json.decode(body)
    if isinstance(content, dict) and content.keys() == {"records"} and isinstance(content["records"], list):
        return content["records"]
    raise invalid_fields([FieldError("body", 'must be {"records": [{...}, ...]}')])


def _check_shapes(records: list[Any], place: Place) -> list[Record]:
    """Check records of any content; the ignored fields may hold anything, and are taken out."""
    kept: list[Record] = []
    errors: list[FieldError] = []
    for number, record in enumerate(records):
        if isinstance(record, dict):
            kept.append({name: value for name, value in record.items() if name not in _IGNORED})
            errors += _wrong_values(kept[-1], place(number))
        else:
            errors.append(FieldError(place(number).rstrip("., "), "must be a JSON object"))
    if errors:
        raise invalid_fields(errors)
    return kept


def _wrong_values(record: Record, place: str) -> Iterator[FieldError]:
    for name, value in record.items():
        if name in BY_NAME:
            try:
                check_of(BY_NAME[name])(value)
            except WrongValueError as error:
                yield FieldError(f"{place}{name}", str(error))
        else:
            yield FieldError(f"{place}{name[:100]}", "is no field of a record")


def _from_records(records: list[Record], place: Place) -> pa.Table:
    for number, record in enumerate(records):
        if not record.keys() <= BY_NAME.keys():
            _check_names(record, place(number))
    errors: list[FieldError] = []
    columns = {column.name: _column(column, records, place, errors) for column in RECORD_COLUMNS}
    if errors:
        raise invalid_fields(errors)
    return pa.table(columns)


def _column(column: Column, records: list[Record], place: Place, errors: list[FieldError]) -> pa.DictionaryArray:
    codes: dict[object, int] = {}
    name = column.name
    indices = np.array([codes.setdefault(record.get(name), len(codes)) for record in records], np.int32)
    texts = _check_levels(column, list(codes), check_of, indices, place, errors)
    return pa.DictionaryArray.from_arrays(pa.array(indices), pa.array(texts, pa.string()))


def _check_names(names: Iterable[str], place: str) -> None:
    given = list(names)
    errors = [FieldError(f"{place}{name[:100]}", "is no field of a record") for name in given if name not in BY_NAME]
    errors += [FieldError(f"{place}{name}", "is there twice") for name in set(given) if given.count(name) > 1]
    if errors:
        raise invalid_fields(errors)


def _header(body: bytes) -> list[str]:
    first = body.split(b"\n", 1)[0].rstrip(b"\r").removeprefix(b"\xef\xbb\xbf")
    try:
        return next(csv.reader(io.StringIO(first.decode())), [])
    except (UnicodeDecodeError, csv.Error):
        raise invalid_fields([FieldError("header", "must be CSV in UTF-8")]) from None
