"""Where the microseconds of a prediction go: stage after stage, in one process, without a server.

As many requests as the load has connections go through a stage together, then through the next, as in service: in a
loop of its own a stage would find its data in the cache of the processor and look twice as fast. Prints JSON: the
median of each stage in microseconds a request. It looks into the API's parts, as nothing but a benchmark should.
"""

import argparse
import asyncio
import gc
import io
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec

from benchmarks.api.load import CONNECTIONS
from readmission.features.row import stack
from readmission.serving.http import access_log, fast_path
from readmission.serving.http.encoding import prediction_json
from readmission.serving.http.limits import make_access_control
from readmission.serving.http.request_headers import PREDICT_PATH, read_request_headers
from readmission.serving.http.request_metrics import RequestMetrics
from readmission.serving.inference.data_plane import DataPlane
from readmission.serving.inference.decoding import decode_record
from readmission.serving.inference.scorer import load_scorer
from readmission.serving.prediction_log import sql as prediction_store
from readmission.serving.prediction_log.log import PredictionLog
from readmission.serving.prediction_log.records import PredictionRecord
from readmission.serving.telemetry.ids import prediction_id
from readmission.serving.telemetry.metrics import Metrics
from readmission.settings import Settings

ROUNDS = 5
TOGETHER = CONNECTIONS
_AT = 1.7e9
_LIMIT = 1 << 40
_WAITING = 1_000
"""Records of a quarter of a second."""


class Parts:
    """The API put together as ``app.create_app`` does, with a model from a folder, and nothing that stores.

    Args:
        folder: a bundle.
        bodies: of requests.
    """

    def __init__(self, folder: Path, bodies: Sequence[bytes]) -> None:
        self.scorer = load_scorer(folder, "1")
        self.metrics = Metrics()
        self.metrics.model_changed("model", "1", self.scorer.metadata.model_type)
        self.log = PredictionLog(None, None, self.metrics, _LIMIT, 0)  # type: ignore[arg-type]
        self.access_log = access_log.AccessLog(io.BytesIO())
        self.plane = DataPlane(SimpleNamespace(current=self.scorer), self.metrics, self.log)  # type: ignore[arg-type]
        self.access = make_access_control(Settings())
        requests = RequestMetrics(self.metrics, frozenset({PREDICT_PATH}), self.access_log)
        self.fast_path = fast_path.FastPath(self.plane, self.access, requests, 1 << 20)
        self.encode_lines = msgspec.json.Encoder().encode_lines
        self.headers = [(b"host", b"127.0.0.1:8000"), (b"content-type", b"application/json")]
        self.headers.append((b"content-length", b"%d" % len(bodies[0])))
        for body in bodies:
            self.plane.encode(body)  # has its values looked up from then on


class Walk:
    """Requests that arrive together, on their way; each public method is a stage.

    Args:
        parts: of the API.
        bodies: of the requests.
    """

    def __init__(self, parts: Parts, bodies: Sequence[bytes]) -> None:
        self._parts = parts
        self._bodies = bodies
        if len(parts.log._queue) > _WAITING:
            parts.log._queue.clear()

    def read_headers(self) -> None:
        """Headers in, the id of the request out."""
        self._headers = [read_request_headers(self._parts.headers) for _ in self._bodies]

    def authorise(self) -> None:
        """Key, rate, requests at once."""
        access = self._parts.access
        for headers in self._headers:
            access.begin()
            access.authorise(PREDICT_PATH, headers.api_key, "")
            access.end()

    def decode(self) -> None:
        """The bodies to Python's objects, their names checked."""
        self._values = [decode_record(body).values for body in self._bodies]

    def look_up(self) -> None:
        """Values to features."""
        encode, among = self._parts.scorer.rows.encode_known, self._parts.scorer.unseen.among
        self._rows = [encode(values) for values in self._values]
        self._unseen = [among(values) for values in self._values]

    def score(self) -> None:
        """Features to probabilities and class."""
        self._predictions = self._parts.scorer.score_rows(stack(self._rows))  # type: ignore[arg-type]

    def name(self) -> None:
        """The ids of the predictions."""
        self._ids = [prediction_id(_AT) for _ in self._bodies]

    def keep(self) -> None:
        """The records of the prediction log."""
        self._logged = [
            PredictionRecord(number, _AT, prediction.version, body, prediction.probabilities, prediction.label)
            for number, prediction, body in zip(self._ids, self._predictions, self._bodies, strict=True)
        ]
        for record in self._logged:
            self._parts.log.put(record)

    def write(self) -> None:
        """The answers as JSON, and their headers."""
        for headers, number, prediction in zip(self._headers, self._ids, self._predictions, strict=True):
            prediction_json(prediction).encode()
            fast_path._HEADERS % (headers.request_id.encode(), number.encode(), prediction.version.encode())

    def count(self) -> None:
        """Metrics."""
        metrics = self._parts.metrics
        for prediction in self._predictions:
            metrics.predicted(prediction.label, prediction.version)
        metrics.answered(PREDICT_PATH, [1e-4] * len(self._predictions))

    def note(self) -> None:
        """The lines of the access log, not yet written."""
        self._requests = [
            access_log.FinishedRequest(_AT, headers.request_id, "", "POST", PREDICT_PATH, 200, 1e-4)
            for headers in self._headers
        ]
        for request in self._requests:
            self._parts.access_log.add(request)

    def store(self) -> None:
        """Later: lines for COPY."""
        b"".join(map(prediction_store._line, self._logged))

    def log(self) -> None:
        """Later: the access log as JSON."""
        self._parts.encode_lines(map(access_log._line, self._requests))


STAGES: Mapping[str, Callable[[Walk], None]] = {
    "headers and id of the request": Walk.read_headers,
    "API key and limits": Walk.authorise,
    "decode": Walk.decode,
    "look-ups": Walk.look_up,
    "ONNX Runtime and the class": Walk.score,
    "id of the prediction": Walk.name,
    "record of the prediction log": Walk.keep,
    "answer as JSON": Walk.write,
    "counting": Walk.count,
    "line of the access log": Walk.note,
    "later: lines for COPY": Walk.store,
    "later: access log as JSON": Walk.log,
}


class Requests:
    """Requests that arrive together, through the fast path as the server sends them there."""

    def __init__(self, parts: Parts, bodies: Sequence[bytes]) -> None:
        self._parts = parts
        self._bodies = bodies
        self._statuses: list[int] = []
        if len(parts.log._queue) > _WAITING:
            parts.log._queue.clear()

    def go(self) -> None:
        """All of it."""
        path = self._parts.fast_path
        for body in self._bodies:
            headers = read_request_headers(self._parts.headers)
            if not path.accepts(headers):
                raise RuntimeError("a request did not take the fast path")
            path.answer(headers, body, self, "", _AT)
        path.flush()
        if self._statuses != [200] * len(self._bodies):
            raise RuntimeError("a request was refused")

    def answer(self, status: int, headers: bytes, body: bytes) -> None:  # noqa: ARG002
        """Take an answer, see ``fast_path.Connection``."""
        self._statuses.append(status)


def measure(
    make: Callable[[Parts, Sequence[bytes]], Any], stages: Mapping[str, Any], parts: Parts, bodies: Sequence[bytes]
) -> dict:
    """Send every body through all stages; the median of each in microseconds a request."""
    times: dict[str, list[float]] = {name: [] for name in stages}
    for start in [*range(0, len(bodies) - TOGETHER + 1, TOGETHER)] * ROUNDS:
        requests = make(parts, bodies[start : start + TOGETHER])
        for name, stage in stages.items():
            started = time.perf_counter()
            stage(requests)
            times[name].append(time.perf_counter() - started)
    return {name: round(1e6 * statistics.median(taken) / TOGETHER, 2) for name, taken in times.items()}


async def main() -> None:
    """Measure and print; within an event loop, of which the fast path asks a turn that never comes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=Path)
    parser.add_argument("bodies", type=Path, help="one JSON body a line")
    options = parser.parse_args()
    bodies = options.bodies.read_bytes().splitlines()
    parts = Parts(options.bundle, bodies)
    gc.freeze()  # as the server does
    whole = measure(Requests, {"everything but the server": Requests.go}, parts, bodies)
    parts.log._queue.clear()
    print(json.dumps({**measure(Walk, STAGES, parts, bodies), **whole}))


if __name__ == "__main__":
    asyncio.run(main())
