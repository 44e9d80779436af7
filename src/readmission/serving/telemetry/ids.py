"""Random ids. Randomness is fetched from the kernel for many at once: each fetch lets other threads take over."""

import os

import numpy as np
import numpy.typing as npt
import pyarrow as pa


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

_TEXT_SIZE = 36
_GROUPS = ((0, 8, 0), (8, 12, 1), (12, 16, 2), (16, 20, 3), (20, 32, 4))
"""Digits of each group, and how many hyphens stand before it."""


def prediction_id(at: float) -> str:
    """Make a UUID of version 7 (RFC 9562): random, and in the order of time, which keeps an index small.

    Args:
        at: seconds since 1970.
    """
    return _uuid(_time_digits(at), _pool.take().hex())


def prediction_ids(at: float, count: int) -> npt.NDArray[np.uint8]:
    """Make many, see ``prediction_id``.

    Returns:
        their bytes, shape (count, 16).
    """
    ids = np.frombuffer(bytearray(os.urandom(16 * count)), np.uint8).reshape(count, 16)
    ids[:, :6] = np.frombuffer(_milliseconds(at).to_bytes(6, "big"), np.uint8)
    ids[:, 6] = ids[:, 6] & 0x0F | 0x70
    ids[:, 8] = ids[:, 8] & 0x3F | 0x80
    return ids


def id_texts(ids: npt.NDArray[np.uint8]) -> pa.StringArray:
    """Write ids, shape (n, 16), in their usual form."""
    digits = np.frombuffer(ids.tobytes().hex().encode(), np.uint8).reshape(-1, 32)
    texts = np.full((len(ids), _TEXT_SIZE), ord("-"), np.uint8)
    for start, end, shift in _GROUPS:
        texts[:, start + shift : end + shift] = digits[:, start:end]
    ends = np.arange(len(ids) + 1, dtype=np.int32) * _TEXT_SIZE
    return pa.StringArray.from_buffers(len(ids), pa.py_buffer(ends), pa.py_buffer(texts))


def _milliseconds(at: float) -> int:
    return int(at * 1000) & 0xFFFF_FFFF_FFFF


def _time_digits(at: float) -> str:
    digits = f"{_milliseconds(at):012x}"
    return f"{digits[:8]}-{digits[8:]}-7"


def _uuid(start: str, digits: str) -> str:
    return f"{start}{digits[:3]}-{_VARIANTS[digits[3]]}{digits[4:7]}-{digits[7:19]}"
