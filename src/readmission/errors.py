"""Errors that a person sees: one plain line, and the exit code that goes with it."""


class ReadmissionError(Exception):
    """What went wrong, where, and what to do, in one line.

    Attributes:
        exit_code: the exit status of the command line.
    """

    exit_code = 1


class BadInputError(ReadmissionError):
    """The data, an option or a setting is wrong; the person who gave it can mend it."""

    exit_code = 2


class ServiceDownError(ReadmissionError):
    """A service (PostgreSQL, S3, MLflow, a web site) does not answer, or is held by somebody else."""

    exit_code = 3


class LockHeldError(ServiceDownError):
    """Another pipeline run is under way."""
