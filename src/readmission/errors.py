"""Errors for users: one plain line each, and the exit code of the command line."""


class ReadmissionError(Exception):
    """Base class; the message is one line: what is wrong, where, and what to do.

    Attributes:
        exit_code: the exit status of the command line.
    """

    exit_code = 1


class BadInputError(ReadmissionError):
    """The data, an option or a setting is wrong, and the user can correct it."""

    exit_code = 2


class ServiceDownError(ReadmissionError):
    """A service (PostgreSQL, S3, MLflow, a web site) does not answer, or another process has locked it."""

    exit_code = 3


class LockHeldError(ServiceDownError):
    """Another pipeline run is in progress."""
