"""Ctrl-C and SIGTERM, kept where a library swallows them."""

import signal
from types import FrameType
from typing import Self

_NUMBERS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Makes both signals raise KeyboardInterrupt in the main thread, and remembers that one came.

    Python raises it wherever the main thread happens to be. In a destructor, or below somebody's bare ``except``, it is
    lost, and nobody sends the signal twice. So what waits calls ``check``, which raises it again.

    A context manager; ``install`` and ``restore`` for those whose start and end are apart.
    """

    def __init__(self) -> None:
        self._old: dict[signal.Signals, signal._HANDLER] = {}
        self._came = False

    def __enter__(self) -> Self:
        self.install()
        return self

    def __exit__(self, *_: object) -> None:
        self.restore()

    def install(self) -> None:
        """Begin to handle both signals, but not Ctrl-C where a shell that started this in the background ignores it."""
        self._came = False
        for number in _NUMBERS:
            if number == signal.SIGINT and signal.getsignal(number) == signal.SIG_IGN:
                continue
            self._old.setdefault(number, signal.signal(number, self._raise) or signal.SIG_DFL)

    def ignore(self) -> None:
        """From now on nothing interrupts: everything is being stopped."""
        for number in _NUMBERS:
            self._old.setdefault(number, signal.signal(number, signal.SIG_IGN) or signal.SIG_DFL)

    def restore(self) -> None:
        """Handle both signals as before ``install``."""
        while self._old:
            signal.signal(*self._old.popitem())

    def check(self) -> None:
        """Raise KeyboardInterrupt if one of the signals has come since ``install``."""
        if self._came:
            raise KeyboardInterrupt

    def _raise(self, _number: int, _frame: FrameType | None) -> None:
        self._came = True
        raise KeyboardInterrupt
