"""Where the microseconds of a prediction go: stage after stage, in one process, without a server.

Every request goes through all stages before the next one begins, as in service: in a loop of its own a stage would find
its data in the cache of the processor and look twice as fast. Prints JSON: the median of each stage in microseconds. It
looks into the API's parts, as nothing but a benchmark should.
"""

import argparse
import gc
import io
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec

from readmission.serving import access_log, entrance, fast_lane, prediction_store
from readmission.serving.admission import make_gate
from readmission.serving.answers import prediction_json
from readmission.serving.data_plane import DataPlane
from readmission.serving.entries import PredictionEntry
from readmission.serving.ids import prediction_id
from readmission.serving.observer import Observer
from readmission.serving.prediction_log import PredictionLog
from readmission.serving.scorer import load_scorer
from readmission.serving.telemetry import Telemetry
from readmission.settings import Settings

ROUNDS = 5
_AT = 1.7e9
_LIMIT = 1 << 40
_WAITING = 1_000
"""Entries of a quarter of a second."""


class Parts:
    """The API put together as ``app.create_app`` does, with a model from a folder, and nothing that stores.

    Args:
        folder: a bundle.
        bodies: of requests that take the fast lane once their values have been met.
    """

    def __init__(self, folder: Path, bodies: Sequence[bytes]) -> None:
        self.scorer = load_scorer(folder, "1")
        self.telemetry = Telemetry()
        self.telemetry.model_changed(self.scorer)
        self.log = PredictionLog(None, None, self.telemetry, _LIMIT, 0)  # type: ignore[arg-type]
        self.access = access_log.AccessLog(io.BytesIO())
        plane = DataPlane(SimpleNamespace(current=self.scorer), self.telemetry, self.log)  # type: ignore[arg-type]
        self.lane = fast_lane.FastLane(plane)
        self.observer = Observer(self.telemetry, frozenset({entrance.PREDICT_PATH}), self.access)
        self.entrance = entrance.Entrance(_nobody, self.lane, make_gate(Settings()), self.observer, {"": 1 << 20})
        self.encode_lines = msgspec.json.Encoder().encode_lines
        self.headers = [(b"host", b"127.0.0.1:8000"), (b"content-type", b"application/json")]
        self.headers.append((b"content-length", b"%d" % len(bodies[0])))
        for body in bodies:
            plane.predict(json.loads(body)["features"])  # learns what is new


async def _nobody(*_: Any) -> None:
    raise RuntimeError("a request did not take the fast lane")


class Walk:
    """One request on its way; each public method is a stage.

    Args:
        parts: of the API.
        body: of the request.
    """

    def __init__(self, parts: Parts, body: bytes) -> None:
        self._parts = parts
        self._body = body

    def read_headers(self) -> None:
        """Headers in, the id of the request out."""
        self._visit = entrance.read_visit(self._parts.headers)

    def decode(self) -> None:
        """The body to Python's objects, their names checked."""
        self._values = msgspec.structs.astuple(self._parts.lane._decode(self._body).features)

    def look_up(self) -> None:
        """Values to the row of the matrix."""
        self._row = self._parts.scorer.rows.encode_known(self._values)

    def score(self) -> None:
        """The row to probabilities and class."""
        self._answer = self._parts.scorer._score(self._row)  # type: ignore[arg-type]

    def name(self) -> None:
        """The id of the prediction."""
        self._id = prediction_id(_AT)

    def keep(self) -> None:
        """The entry of the prediction log."""
        answer = self._answer
        self._entry = PredictionEntry(
            self._id, _AT, answer.version, self._body.decode(), answer.probabilities, answer.label
        )
        self._parts.log.put(self._entry)

    def write(self) -> None:
        """The answer as JSON, and its headers."""
        prediction_json(self._answer).encode()
        entrance._own_headers(self._visit)

    def count(self) -> None:
        """Metrics."""
        telemetry = self._parts.telemetry
        telemetry.predicted(self._answer)
        telemetry.started()
        telemetry.finished(entrance.PREDICT_PATH, "POST", 200, 1e-4, None)

    def note(self) -> None:
        """The entry of the access log."""
        request_id = self._visit.request_id
        self._request = access_log.Request(_AT, request_id, "", "POST", entrance.PREDICT_PATH, 200, 1e-4)
        self._parts.access.add(self._request)

    def store(self) -> None:
        """Later: lines for COPY."""
        prediction_store._line(self._entry)

    def log(self) -> None:
        """Later: the access log as JSON."""
        self._parts.encode_lines([access_log._line(self._request)])


STAGES: Mapping[str, Callable[[Walk], None]] = {
    "headers and id of the request": Walk.read_headers,
    "decode": Walk.decode,
    "look-ups": Walk.look_up,
    "ONNX Runtime and the class": Walk.score,
    "id of the prediction": Walk.name,
    "entry of the prediction log": Walk.keep,
    "answer as JSON": Walk.write,
    "counting": Walk.count,
    "entry of the access log": Walk.note,
    "later: lines for COPY": Walk.store,
    "later: access log as JSON": Walk.log,
}


class Request:
    """One request through the way in, as the server would have it answered; what waits is emptied as often as there."""

    def __init__(self, parts: Parts, body: bytes) -> None:
        self._parts = parts
        self._body = body
        self._sent: list[Any] = []
        self._scope = {
            "type": "http",
            "method": "POST",
            "path": entrance.PREDICT_PATH,
            "headers": parts.headers,
            "state": {},
        }
        if len(parts.log._queue) > _WAITING:
            parts.log._queue.clear()

    def answer(self) -> None:
        """All of it."""
        with suppress(StopIteration):
            self._parts.entrance(self._scope, self._receive, self._send).send(None)  # type: ignore[attr-defined,arg-type]
        if self._sent[0]["status"] != 200:
            raise RuntimeError("a request was refused")

    async def _receive(self) -> dict[str, Any]:
        return {"type": "http.request", "body": self._body, "more_body": False}

    async def _send(self, message: Any) -> None:
        self._sent.append(message)


def measure(
    make: Callable[[Parts, bytes], Any], stages: Mapping[str, Any], parts: Parts, bodies: Sequence[bytes]
) -> dict:
    """Send every body through all stages; the median of each in microseconds."""
    times: dict[str, list[float]] = {name: [] for name in stages}
    for body in list(bodies) * ROUNDS:
        request = make(parts, body)
        for name, stage in stages.items():
            started = time.perf_counter()
            stage(request)
            times[name].append(time.perf_counter() - started)
    return {name: round(1e6 * statistics.median(taken), 2) for name, taken in times.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=Path)
    parser.add_argument("bodies", type=Path, help="one JSON body a line")
    options = parser.parse_args()
    bodies = options.bodies.read_bytes().splitlines()
    parts = Parts(options.bundle, bodies)
    gc.freeze()  # as the server does
    whole = measure(Request, {"everything but the server": Request.answer}, parts, bodies)
    parts.log._queue.clear()
    print(json.dumps({**measure(Walk, STAGES, parts, bodies), **whole}))


if __name__ == "__main__":
    main()
