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
from readmission.serving.http import access_log
from readmission.serving.http import fast_path as fast_lane
from readmission.serving.http.encoding import prediction_json
from readmission.serving.http.limits import make_gate
from readmission.serving.http.request_headers import PREDICT_PATH, read_visit
from readmission.serving.http.request_metrics import Observer
from readmission.serving.inference.data_plane import DataPlane
from readmission.serving.inference.scorer import load_scorer
from readmission.serving.prediction_log import sql as prediction_store
from readmission.serving.prediction_log.log import PredictionLog
from readmission.serving.prediction_log.records import PredictionEntry
from readmission.serving.telemetry.ids import prediction_id
from readmission.serving.telemetry.metrics import Telemetry
from readmission.settings import Settings

ROUNDS = 5
TOGETHER = CONNECTIONS
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
        self.gate = make_gate(Settings())
        self.observer = Observer(self.telemetry, frozenset({PREDICT_PATH}), self.access)
        self.lane = fast_lane.FastLane(plane, self.gate, self.observer, 1 << 20)
        self.encode_lines = msgspec.json.Encoder().encode_lines
        self.headers = [(b"host", b"127.0.0.1:8000"), (b"content-type", b"application/json")]
        self.headers.append((b"content-length", b"%d" % len(bodies[0])))
        for body in bodies:
            plane.predict(json.loads(body)["features"])  # learns what is new


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
        self._visits = [read_visit(self._parts.headers) for _ in self._bodies]

    def admit(self) -> None:
        """Past the gate."""
        for visit in self._visits:
            self._parts.lane.admit(visit, "")
            self._parts.gate.leave()

    def decode(self) -> None:
        """The bodies to Python's objects, their names checked."""
        decode = self._parts.lane._decode
        self._values = [msgspec.structs.astuple(decode(body).features) for body in self._bodies]

    def look_up(self) -> None:
        """Values to features."""
        encode = self._parts.scorer.rows.encode_known
        self._rows = [encode(values) for values in self._values]

    def score(self) -> None:
        """Features to probabilities and class."""
        self._answers = self._parts.scorer.score_rows(stack(self._rows))  # type: ignore[arg-type]

    def name(self) -> None:
        """The ids of the predictions."""
        self._ids = [prediction_id(_AT) for _ in self._bodies]

    def keep(self) -> None:
        """The entries of the prediction log."""
        self._entries = [
            PredictionEntry(number, _AT, answer.version, body, answer.probabilities, answer.label)
            for number, answer, body in zip(self._ids, self._answers, self._bodies, strict=True)
        ]
        for entry in self._entries:
            self._parts.log.put(entry)

    def write(self) -> None:
        """The answers as JSON, and their headers."""
        for visit, number, answer in zip(self._visits, self._ids, self._answers, strict=True):
            prediction_json(answer).encode()
            fast_lane._HEADERS % (visit.request_id.encode(), number.encode(), answer.version.encode())

    def count(self) -> None:
        """Metrics."""
        telemetry = self._parts.telemetry
        for answer in self._answers:
            telemetry.predicted(answer)  # type: ignore[arg-type]
        telemetry.answered(PREDICT_PATH, [1e-4] * len(self._answers))

    def note(self) -> None:
        """The entries of the access log."""
        self._requests = [
            access_log.Request(_AT, visit.request_id, "", "POST", PREDICT_PATH, 200, 1e-4) for visit in self._visits
        ]
        for request in self._requests:
            self._parts.access.add(request)

    def store(self) -> None:
        """Later: lines for COPY."""
        b"".join(map(prediction_store._line, self._entries))

    def log(self) -> None:
        """Later: the access log as JSON."""
        self._parts.encode_lines(map(access_log._line, self._requests))


STAGES: Mapping[str, Callable[[Walk], None]] = {
    "headers and id of the request": Walk.read_headers,
    "the gate": Walk.admit,
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


class Requests:
    """Requests that arrive together, through the lane as the server sends them there."""

    def __init__(self, parts: Parts, bodies: Sequence[bytes]) -> None:
        self._parts = parts
        self._bodies = bodies
        self._statuses: list[int] = []
        if len(parts.log._queue) > _WAITING:
            parts.log._queue.clear()

    def go(self) -> None:
        """All of it."""
        lane = self._parts.lane
        for body in self._bodies:
            visit = read_visit(self._parts.headers)
            if not (lane.may_take(visit) and lane.admit(visit, "") and lane.offer(visit, body, self, _AT)):
                raise RuntimeError("a request did not take the fast lane")
        lane.flush()
        if self._statuses != [200] * len(self._bodies):
            raise RuntimeError("a request was refused")

    def answer(self, status: int, headers: bytes, body: bytes) -> None:  # noqa: ARG002
        """Take an answer, see ``fast_lane.Caller``."""
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
    """Measure and print; within an event loop, of which the lane asks a turn that never comes."""
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
