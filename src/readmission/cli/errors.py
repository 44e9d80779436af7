"""What an error means at the end of a command."""


def comes_from_interrupt(error: BaseException | None) -> bool:
    """Whether Ctrl-C is behind it."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def describe(error: OSError) -> str:
    """Say in one line what the system refused, and for which file."""
    reason = error.strerror or next(iter(str(error).splitlines()), type(error).__name__)
    return f"{error.filename}: {reason}" if error.filename else reason
