"""Random ids. Randomness is fetched from the kernel for many at once: each fetch lets other threads take over."""

import os


class _Pool:
    """Random bytes, each given out once. Threads may share it: taking the last item of a list is one step."""

    SIZE = 8_192

    def __init__(self) -> None:
        self._rest: list[bytes] = []

    def take(self) -> bytes:
        """Sixteen random bytes."""
        try:
            return self._rest.pop()
        except IndexError:
            drawn = os.urandom(self.SIZE)
            fresh = [drawn[place : place + 16] for place in range(0, self.SIZE, 16)]
            mine = fresh.pop()
            self._rest = fresh
            return mine


_pool = _Pool()


def request_id() -> str:
    """Make the id of a request: 128 random bits, in hexadecimal."""
    return _pool.take().hex()


_VARIANTS = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))
"""RFC 9562: the first digit of the fourth group has two fixed bits."""


def prediction_id(at: float) -> str:
    """Make a UUID of version 7 (RFC 9562): random, and in the order of time, which keeps an index small.

    Args:
        at: seconds since 1970.
    """
    return _uuid(_time_digits(at), _pool.take().hex())


def prediction_ids(at: float, count: int) -> list[str]:
    """Make many, see ``prediction_id``."""
    start, digits = _time_digits(at), os.urandom(16 * count).hex()
    return [_uuid(start, digits[place : place + 32]) for place in range(0, 32 * count, 32)]


def _time_digits(at: float) -> str:
    digits = f"{int(at * 1000) & 0xFFFF_FFFF_FFFF:012x}"
    return f"{digits[:8]}-{digits[8:]}-7"


def _uuid(start: str, digits: str) -> str:
    return f"{start}{digits[:3]}-{_VARIANTS[digits[3]]}{digits[4:7]}-{digits[7:19]}"
