"""Store what arrives on a socket until its other end is closed: the child of ``store_process``.

Run as ``python -m readmission.serving.prediction_log.store_worker DESCRIPTOR``.
"""

import os
import signal
import socket
import sys

import psycopg
from pydantic import SecretStr

from readmission.serving.prediction_log.sql import PredictionStore
from readmission.serving.prediction_log.store_messages import StoreAnswer, StoreRequest, receive, send

_NICE = 5
"""Where there is one core for all, requests come first; a quarter of it is left to this process then."""


def main(descriptor: int) -> None:
    """Serve one socket."""
    # Ctrl-C reaches the whole group; what waits is stored first, and then the parent closes the socket.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    os.nice(_NICE)
    with socket.socket(fileno=descriptor) as line:
        url = receive(line, str)
        if url is None:
            return
        store = PredictionStore(SecretStr(url))
        while (request := receive(line, StoreRequest)) is not None:
            send(line, _do(store, request))
        store.close()


def _do(store: PredictionStore, request: StoreRequest) -> StoreAnswer:
    try:
        if request.days:
            return StoreAnswer(count=store.drop_old(request.days))
        store.write([*request.predictions, *request.batches, *request.feedback])
    except psycopg.Error as error:
        # Only the kind: a database's message may quote a row.
        return StoreAnswer(error=type(error).__name__, is_data=isinstance(error, psycopg.DataError))
    return StoreAnswer()


if __name__ == "__main__":
    main(int(sys.argv[1]))
