"""Check that a server gives the same predictions as the API."""

import json
import sys
from collections.abc import Sequence

from benchmarks.api.load import compact
from benchmarks.api.servers import Record, Service, post

CHECKED = 200
TOLERANCE = 1e-5


def check(api: Service, rival: Service, records: Sequence[Record]) -> None:
    """Send the same records to both servers; exit if a class differs, or a probability by more than 1e-5."""
    for number, record in enumerate(records[:CHECKED]):
        expected, given = (_answer(service, record) for service in (api, rival))
        if given["readmission_prediction"] != expected["readmission_prediction"]:
            sys.exit(f"{rival.name} gives record {number} another class")
        chances = expected["probabilities"]
        if given["probabilities"].keys() != chances.keys():
            sys.exit(f"{rival.name} gives record {number} other labels")
        if max(abs(given["probabilities"][label] - chance) for label, chance in chances.items()) > TOLERANCE:
            sys.exit(f"{rival.name} gives record {number} other probabilities")


def _answer(service: Service, record: Record) -> dict:
    body = compact(service.ask(record)).encode()
    return service.read(json.loads(post(service.port, service.path, body)))
