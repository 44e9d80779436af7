"""Where the microseconds of a prediction go: each stage on its own, in one process, without a server.

Prints JSON: microseconds per request by stage. It looks into the API's parts, as nothing but a benchmark should.
"""

import argparse
import gc
import io
import json
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec

from readmission import bundle
from readmission.serving import access_log, entrance, fast_lane, prediction_store
from readmission.serving.admission import make_gate
from readmission.serving.answers import prediction_json
from readmission.serving.data_plane import DataPlane
from readmission.serving.entries import PredictionEntry, new_id
from readmission.serving.observer import Observer
from readmission.serving.prediction_log import PredictionLog
from readmission.serving.scorer import load_scorer
from readmission.serving.telemetry import Telemetry
from readmission.settings import Settings

ROUNDS = 7
_AT = 1.7e9
_WAITING = 1_000
"""Entries of a quarter of a second."""

_LIMIT = 1 << 40
_OUTPUTS = [bundle.ONNX_PROBABILITIES]

Stages = dict[str, float]


def microseconds(call: Callable[[Any], object], items: Sequence[Any]) -> float:
    """Time of one call: the fastest of several rounds over all items."""
    rounds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for item in items:
            call(item)
        rounds.append(time.perf_counter() - started)
    return 1e6 * min(rounds) / len(items)


class Parts:
    """The API put together as ``app.create_app`` does, with a model from a folder, and nothing that stores.

    Args:
        folder: a bundle.
        bodies: of requests that take the fast lane once their values have been met.
    """

    def __init__(self, folder: Path, bodies: Sequence[bytes]) -> None:
        self.bodies = bodies
        self.scorer = load_scorer(folder, "1")
        self.telemetry = Telemetry()
        self.telemetry.model_changed(self.scorer)
        self.log = PredictionLog(None, None, self.telemetry, _LIMIT, 0)  # type: ignore[arg-type]
        self.access = access_log.AccessLog(io.BytesIO())
        self.plane = DataPlane(SimpleNamespace(current=self.scorer), self.telemetry, self.log)  # type: ignore[arg-type]
        self.lane = fast_lane.FastLane(self.plane)
        self.observer = Observer(self.telemetry, frozenset({entrance.PREDICT_PATH}), self.access)
        self.entrance = entrance.Entrance(_nobody, self.lane, make_gate(Settings()), self.observer, {"": 1 << 20})
        self.records = [self.lane._decode(body).features for body in bodies]
        self.answers = [self.plane.predict(record).answer for record in self.records]  # also learns what is new
        self.headers = [(b"host", b"127.0.0.1:8000"), (b"content-type", b"application/json")]
        self.headers.append((b"content-length", b"%d" % len(bodies[0])))

    def request(self, body: bytes) -> None:
        """Answer a request as the server would have it answered; what is to be stored is emptied as often as there."""
        if len(self.log._queue) > _WAITING:
            self.log._queue.clear()
        sent: list[Any] = []
        scope = {"type": "http", "method": "POST", "path": entrance.PREDICT_PATH, "headers": self.headers, "state": {}}

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        with suppress(StopIteration):
            self.entrance(scope, receive, send).send(None)  # type: ignore[attr-defined,arg-type]
        if sent[0]["status"] != 200:
            raise RuntimeError("a request was refused")


async def _nobody(*_: Any) -> None:
    raise RuntimeError("a request did not take the fast lane")


def of_the_model(parts: Parts) -> Stages:
    """From the body to class and probabilities."""
    scorer = parts.scorer
    rows = [scorer.rows.encode_known(record) for record in parts.records]
    found = {
        "decode": microseconds(lambda body: parts.lane._decode(body).features.keys() <= fast_lane._NAMES, parts.bodies),
        "look-ups": microseconds(scorer.rows.encode_known, parts.records),
        "ONNX Runtime": microseconds(lambda row: scorer.session.run(_OUTPUTS, {bundle.ONNX_INPUT: row}), rows),
    }
    whole = microseconds(scorer.score_known, parts.records)
    found["probabilities and class"] = whole - found["look-ups"] - found["ONNX Runtime"]
    return found


def of_the_answer(parts: Parts) -> Stages:
    """What is told and kept beside it."""
    visit = entrance.Visit(request_id=uuid.uuid4().hex)
    request_id = microseconds(lambda _: uuid.uuid4().hex, parts.answers)
    kept = list(zip(parts.records, parts.answers, strict=True))

    def keep(pair: Any) -> None:
        record, answer = pair
        parts.log.put(PredictionEntry("", _AT, answer.version, record, answer.probabilities, answer.label))

    def count(answer: Any) -> None:
        parts.telemetry.predicted(answer)
        parts.telemetry.started()
        parts.telemetry.finished(entrance.PREDICT_PATH, "POST", 200, 1e-4, None)

    def note(_: Any) -> None:
        parts.access.add(access_log.Request(_AT, visit.request_id, "", "POST", entrance.PREDICT_PATH, 200, 1e-4))

    return {
        "answer as JSON": microseconds(lambda answer: prediction_json(answer).encode(), parts.answers),
        "id of the request": request_id,
        "id of the prediction": microseconds(lambda _: new_id(_AT), parts.answers),
        "headers": microseconds(lambda _: (entrance.read_visit(parts.headers), entrance._own_headers(visit)), kept)
        - request_id,
        "counting": microseconds(count, parts.answers),
        "entry of the prediction log": microseconds(keep, kept),
        "entry of the access log": microseconds(note, kept),
    }


def of_the_threads(parts: Parts) -> Stages:
    """What threads do later, on the same core."""
    entries = [
        PredictionEntry(new_id(_AT), _AT, answer.version, record, answer.probabilities, answer.label)
        for record, answer in zip(parts.records, parts.answers, strict=True)
    ]
    request = access_log.Request(_AT, uuid.uuid4().hex, "", "POST", entrance.PREDICT_PATH, 200, 1e-4)
    encode = msgspec.json.Encoder().encode_lines
    return {
        "later: lines for COPY": microseconds(prediction_store._prediction_lines, entries),
        "later: access log as JSON": microseconds(lambda _: encode([access_log._line(request)]), entries),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=Path)
    parser.add_argument("bodies", type=Path, help="one JSON body a line")
    options = parser.parse_args()
    parts = Parts(options.bundle, options.bodies.read_bytes().splitlines())
    gc.freeze()  # as the server does
    found = {**of_the_model(parts), **of_the_answer(parts)}
    found["everything but the server"] = microseconds(parts.request, parts.bodies)
    found |= of_the_threads(parts)
    print(json.dumps({name: round(value, 2) for name, value in found.items()}))


if __name__ == "__main__":
    main()
