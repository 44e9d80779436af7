"""Logs as lines of JSON on standard error, for whatever collects them. No line holds a value of a record."""

import logging
import traceback
from types import TracebackType

from pythonjsonlogger.json import JsonFormatter

_ErrorInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class Formatter(JsonFormatter):
    """Time, level, logger and message; of an error its type and traceback."""

    def __init__(self) -> None:
        super().__init__(
            "{levelname}{name}{message}", style="{", timestamp="time", rename_fields={"levelname": "level"}
        )

    def formatException(self, ei: _ErrorInfo) -> str:  # noqa: N802 - logging's name
        """Leave the error's own text out: it may quote a record."""
        kind, error, _ = ei
        if kind is None or error is None:
            return ""
        return "".join([*traceback.format_tb(error.__traceback__), kind.__qualname__])


def set_up_logs() -> None:
    """Log everything in this process as lines of JSON; of libraries only warnings."""
    handler = logging.StreamHandler()
    handler.setFormatter(Formatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("readmission").setLevel(logging.INFO)
