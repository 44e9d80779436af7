"""What a field of a record may hold. One check per column, used for bodies, files and forms alike."""

from collections.abc import Callable

from readmission.features.record import RawValue
from readmission.schema import MISSING, Column

TEXT_LIMIT = 100
"""Longest text of a field, in characters; the longest word of the source has 36."""

Check = Callable[[object], RawValue]


class WrongValueError(ValueError):
    """A value that a field may not hold; the message says what it must be, never what it was."""


def check_of(column: Column) -> Check:
    """Make the check of a column: a value as JSON has it in, the value to score out; None is missing."""
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
    if value is None or (isinstance(value, str) and len(value) <= TEXT_LIMIT):
        return value
    raise WrongValueError(f"must be text of up to {TEXT_LIMIT} characters or null")
