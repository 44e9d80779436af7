"""Messages between the prediction log and the process that stores: MessagePack after its length."""

import socket
import struct
from typing import TypeVar

import msgspec

from readmission.serving.prediction_log.records import BatchRecord, FeedbackRecord, PredictionRecord

_LENGTH = struct.Struct("!Q")
_encode = msgspec.msgpack.Encoder().encode

Message = TypeVar("Message")


class StoreRequest(msgspec.Struct, array_like=True, gc=False):
    """Records to store; or, where ``days`` is not 0, the age from which predictions are deleted."""

    predictions: list[PredictionRecord] = []
    batches: list[BatchRecord] = []
    feedback: list[FeedbackRecord] = []
    days: int = 0


class StoreAnswer(msgspec.Struct, array_like=True, gc=False):
    """How many predictions were deleted; or the type of the error, and whether the data is at fault."""

    count: int = 0
    error: str = ""
    is_data: bool = False


def send(line: socket.socket, message: object) -> None:
    """Send a message.

    Raises:
        OSError: the other side has ended, or takes nothing in the socket's time.
    """
    content = _encode(message)
    line.sendall(_LENGTH.pack(len(content)) + content)


def receive(line: socket.socket, kind: type[Message]) -> Message | None:
    """Receive a message; None where the other side has ended.

    Raises:
        OSError: nothing came in the socket's time.
    """
    start = _read(line, _LENGTH.size)
    content = None if start is None else _read(line, _LENGTH.unpack(start)[0])
    return None if content is None else msgspec.msgpack.decode(content, type=kind)


def _read(line: socket.socket, size: int) -> bytearray | None:
    content = bytearray(size)
    view, done = memoryview(content), 0
    while done < size:
        count = line.recv_into(view[done:])
        if not count:
            return None
        done += count
    return content
