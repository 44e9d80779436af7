"""Bytes to records: one record as JSON, many as JSON, lines of JSON or CSV. One decoder of a record serves all JSON.

What is well formed is decoded to typed values by msgspec. What is not is decoded once more without types, to name every
wrong field by its position, never by its value. Values themselves are checked by ``validation``.
"""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from readmission.features.record import RawValue
from readmission.schema import BY_NAME, IDENTIFIERS, LABEL_COLUMN, RECORD_COLUMNS, Column
from readmission.serving.inference.errors import FieldError, InvalidFieldsError, InvalidJsonError
from readmission.serving.inference.validation import (
    RowName,
    WrongValueError,
    check_columns,
    check_levels,
    check_of,
)

Values = tuple[RawValue, ...]
"""A record: one value for each of ``schema.RECORD_COLUMNS``, in their order; None is missing."""

_IGNORED = (*IDENTIFIERS, LABEL_COLUMN)
"""Allowed in a record, and not used."""

_CHECKS = {column.name: check_of(column) for column in RECORD_COLUMNS}
_MAX_NAME = 100
_UNKNOWN = "is no field of a record"
_NO_OBJECT = "must be a JSON object, in a request with Content-Type: application/json"

# float: 41.0 is the whole number 41, in JSON Schema too. Not bool: to Python, true is 1.
_Value = int | float | str | None

_FIELDS = [(f"field_{index}", _Value, None) for index in range(len(RECORD_COLUMNS))]
_IGNORED_FIELDS = [(f"ignored_{index}", msgspec.Raw, msgspec.Raw(b"null")) for index in range(len(_IGNORED))]
_NAMES = {
    **{f"field_{index}": column.name for index, column in enumerate(RECORD_COLUMNS)},
    **{f"ignored_{index}": name for index, name in enumerate(_IGNORED)},
}


def _struct(name: str, fields: list[Any], names: Mapping[str, str] | None = None) -> Any:
    return msgspec.defstruct(name, fields, rename=names, forbid_unknown_fields=True, gc=False)


_BareRecord = _struct("_BareRecord", _FIELDS, _NAMES)
_Record = _struct("_Record", [*_FIELDS, *_IGNORED_FIELDS], _NAMES)
_BareBody = _struct("_BareBody", [("features", _BareRecord)])
_Body = _struct("_Body", [("features", _Record)])
_Batch = _struct("_Batch", [("records", list.__class_getitem__(_Record))])

_values: Any = msgspec.structs.astuple
_decode_bare_body = msgspec.json.Decoder(_BareBody).decode
_decode_body = msgspec.json.Decoder(_Body).decode
_decode_batch = msgspec.json.Decoder(_Batch).decode
_decode_lines = msgspec.json.Decoder(_Record).decode_lines

_NOT_DECODED = (msgspec.DecodeError, UnicodeDecodeError)


class DecodedRecord(NamedTuple):
    """A record as its body has it.

    Attributes:
        values: not checked yet.
        is_bare: whether the body holds these values and nothing else.
    """

    values: Values
    is_bare: bool


def decode_record(body: bytes) -> DecodedRecord:
    """Decode ``{"features": {...}}``; ``validation.check_record`` checks the values.

    Raises:
        InvalidJsonError: it is not JSON.
        InvalidFieldsError: it has another shape, an unknown field, or a value that is no text, number or null.
    """
    try:
        return DecodedRecord(_values(_decode_bare_body(body).features), True)
    except _NOT_DECODED:
        pass
    try:
        return DecodedRecord(_scored_values(_decode_body(body).features), False)
    except _NOT_DECODED:
        return DecodedRecord(_decode_any_record(body), False)


def decode_json(body: bytes) -> pa.Table:
    """Decode ``{"records": [{...}, ...]}`` and check every value.

    Returns:
        n rows; dictionary columns of text as they are scored, missing is ``?``.

    Raises:
        InvalidJsonError: it is not JSON.
        InvalidFieldsError: it has another shape, or a field is wrong.
    """
    row_name = partial(_row_name, "records.{}.", 0)
    try:
        records = [_scored_values(record) for record in _decode_batch(body).records]
    except _NOT_DECODED:
        records = _check_shapes(_any_records(body), row_name)
    return _to_columns(records, row_name)


def decode_ndjson(body: bytes) -> pa.Table:
    """Decode one JSON object per line; see ``decode_json``."""
    row_name = partial(_row_name, "line {}, ", 1)
    try:
        records = [_scored_values(record) for record in _decode_lines(body)]
    except _NOT_DECODED:
        records = _check_shapes([_any_json(line) for line in body.splitlines() if line.strip()], row_name)
    return _to_columns(records, row_name)


def decode_csv(body: bytes) -> pa.Table:
    """Decode CSV with a header; an empty field is missing; see ``decode_json``."""
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
        raise InvalidFieldsError([FieldError(where, detail)]) from None
    return check_columns(table.unify_dictionaries().combine_chunks(), partial(_row_name, "line {}, ", 2))


def _scored_values(record: Any) -> Values:
    values: Values = _values(record)[: len(RECORD_COLUMNS)]
    return values


def _row_name(template: str, first: int, row: int) -> str:
    return template.format(row + first)


def _decode_any_record(body: bytes) -> Values:
    content = _any_json(body)
    if not isinstance(content, dict):
        raise InvalidFieldsError([FieldError("body", _NO_OBJECT)])
    errors = [FieldError(name[:_MAX_NAME], _UNKNOWN) for name in content if name != "features"]
    if "features" not in content:
        raise InvalidFieldsError([FieldError("features", "is required"), *errors])
    features = content["features"]
    if not isinstance(features, dict):
        raise InvalidFieldsError([FieldError("features", "must be a JSON object"), *errors])
    errors = [*_wrong_fields(features, "features."), *errors]
    if errors:
        raise InvalidFieldsError(errors)
    return _in_order(features)


def _any_json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InvalidJsonError(error.pos) from None
    except (ValueError, RecursionError):  # bytes that are not UTF-8, too many digits, too deep
        raise InvalidJsonError from None


def _any_records(body: bytes) -> list[Any]:
    content = _any_json(body)
    if isinstance(content, dict) and content.keys() == {"records"} and isinstance(content["records"], list):
        return content["records"]
    raise InvalidFieldsError([FieldError("body", 'must be {"records": [{...}, ...]}')])


def _check_shapes(records: Sequence[Any], row_name: RowName) -> list[Values]:
    errors: list[FieldError] = []
    for row, record in enumerate(records):
        if isinstance(record, dict):
            errors += _wrong_fields(record, row_name(row))
        else:
            errors.append(FieldError(row_name(row).rstrip("., "), "must be a JSON object"))
    if errors:
        raise InvalidFieldsError(errors)
    return [_in_order(record) for record in records]


def _wrong_fields(record: Mapping[str, Any], prefix: str) -> list[FieldError]:
    """Every wrong value in the order of the schema, then every unknown field."""
    errors = []
    for name, check in _CHECKS.items():
        try:
            check(record.get(name))
        except WrongValueError as error:
            errors.append(FieldError(f"{prefix}{name}", str(error)))
    return errors + [FieldError(f"{prefix}{name[:_MAX_NAME]}", _UNKNOWN) for name in record if name not in BY_NAME]


def _in_order(record: Mapping[str, RawValue]) -> Values:
    return tuple([record.get(column.name) for column in RECORD_COLUMNS])


def _to_columns(records: Sequence[Values], row_name: RowName) -> pa.Table:
    errors: list[FieldError] = []
    of_columns = zip(*records, strict=True) if records else [()] * len(RECORD_COLUMNS)
    columns = {
        column.name: _column(column, values, row_name, errors)
        for column, values in zip(RECORD_COLUMNS, of_columns, strict=True)
    }
    if errors:
        raise InvalidFieldsError(errors)
    return pa.table(columns)


def _column(
    column: Column, values: Iterable[RawValue], row_name: RowName, errors: list[FieldError]
) -> pa.DictionaryArray:
    codes: dict[RawValue, int] = {}
    indices = np.array([codes.setdefault(value, len(codes)) for value in values], np.int32)
    texts = check_levels(column.name, check_of(column), list(codes), indices, row_name, errors)
    return pa.DictionaryArray.from_arrays(pa.array(indices), pa.array(texts, pa.string()))


def _check_names(names: Iterable[str], prefix: str) -> None:
    given = list(names)
    errors = [FieldError(f"{prefix}{name[:_MAX_NAME]}", _UNKNOWN) for name in given if name not in BY_NAME]
    errors += [FieldError(f"{prefix}{name}", "is there twice") for name in set(given) if given.count(name) > 1]
    if errors:
        raise InvalidFieldsError(errors)


def _header(body: bytes) -> list[str]:
    first = body.split(b"\n", 1)[0].rstrip(b"\r").removeprefix(b"\xef\xbb\xbf")
    try:
        return next(csv.reader(io.StringIO(first.decode())), [])
    except (UnicodeDecodeError, csv.Error):
        raise InvalidFieldsError([FieldError("header", "must be CSV in UTF-8")]) from None
