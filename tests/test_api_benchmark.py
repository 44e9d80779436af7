"""The API's benchmark measures what it says, and its baseline is the same model; its figures are not judged here."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from benchmarks.api.export import export
from benchmarks.api.latency import figures
from benchmarks.api.load import read_rate
from benchmarks.api.machine import need
from benchmarks.api.open_loop import Times, as_request, ask, plan
from benchmarks.api.pandas_model import PandasModel
from benchmarks.api.profile import Cost, complete
from benchmarks.api.records import diagnoses, draw_records, first_lines, first_records
from readmission.evaluation.metrics import decide
from readmission.features.record import RawValue, as_text
from readmission.schema import LABELS, RECORD_COLUMNS

if TYPE_CHECKING:
    from readmission.training.fitting import Fit
    from readmission.training.model import FittedModel

OUTPUT = """Running 5s test @ http://127.0.0.1:8000
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
Requests/sec:   4999.00
{"requests": 25000, "seconds": 5.000000, "refused": 5, "failed": 1, "p99_ms": 3.2500}
"""
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
STALL = 0.3


def test_the_output_of_wrk_is_read() -> None:
    rate = read_rate(OUTPUT)
    assert (rate.per_second, rate.p99_ms, rate.refused, rate.failed) == (4_999.0, 3.25, 5, 1)


def test_a_missing_program_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match=r"apt-get install util-linux wrk$"):
        need(["taskset", "wrk"])


def test_questions_have_the_documented_form(small_file: Path) -> None:
    drawn = draw_records(small_file, 50)
    assert len({tuple(record.values()) for record in drawn}) == 50
    for column in RECORD_COLUMNS:
        assert {type(record[column.name]) for record in drawn} == {int if column.is_number else str}
    assert draw_records(small_file, 50) == drawn
    assert first_lines(small_file, 2).splitlines() == small_file.read_bytes().splitlines()[:3]
    assert len(first_records(small_file, 2)) == 2


@pytest.fixture(scope="module")
def fitted(fits: "dict[str, Fit]") -> "FittedModel":
    return fits["gradient_boosting"].model


@pytest.fixture(scope="module")
def model(fitted: "FittedModel", small_file: Path, tmp_path_factory: pytest.TempPathFactory) -> PandasModel:
    folder = tmp_path_factory.mktemp("export") / "model"
    export(fitted, diagnoses(small_file), folder)
    return PandasModel(folder)


def changed(record: dict[str, RawValue], **values: RawValue) -> dict[str, RawValue]:
    return {**record, **values}


def test_the_baseline_answers_as_the_fitted_model(fitted: "FittedModel", model: PandasModel, small_file: Path) -> None:
    drawn = [dict(record) for record in draw_records(small_file, 300)]
    drawn += [
        changed(drawn[0], race=None, time_in_hospital=None, num_medications=None, diag_1=None),
        changed(
            drawn[1], payer_code="a new one", discharge_disposition_id=77, number_inpatient=400, time_in_hospital=0
        ),
    ]
    expected = fitted.predict_proba(
        pd.DataFrame([{name: as_text(value) for name, value in row.items()} for row in drawn])
    )
    labels, given = model.predict(model.frame([list(row.values()) for row in drawn]))
    assert np.abs(given - expected).max() < 1e-9
    assert labels == [LABELS[place] for place in decide(expected, fitted.decision)]
    alone = [model.answer(row) for row in drawn]
    assert [answer["readmission_prediction"] for answer in alone] == labels
    assert [list(answer["probabilities"].values()) for answer in alone] == pytest.approx(given)


def test_requests_are_due_at_random_but_at_the_rate() -> None:
    dues = list(plan(1_000, 5.0))
    assert dues == list(plan(1_000, 5.0))
    assert dues == sorted(dues)
    assert len(dues) == pytest.approx(5_000, rel=0.05)
    assert dues[-1] < 5.0


@pytest.fixture
def stalling_server() -> Iterator[int]:
    """Answers at once, but for one stall of all its connections; answers arrive in two parts."""
    free = threading.Lock()
    stalled = threading.Event()

    def serve(line: socket.socket) -> None:
        with line:
            while request := line.recv(1 << 16):
                assert request.startswith(b"POST /predict HTTP/1.1\r\n")
                with free:
                    if not stalled.is_set():
                        stalled.set()
                        time.sleep(STALL)
                line.sendall(ANSWER[:-1])
                line.sendall(ANSWER[-1:])

    def accept() -> None:
        while True:
            try:
                line, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=[line], daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.alone
def test_a_stall_counts_for_all_who_would_have_asked_meanwhile(stalling_server: int) -> None:
    times = ask(stalling_server, [as_request("/predict", b"{}")], rate=200, seconds=1.0)
    assert len(times.answers) == len(list(plan(200, 1.0)))
    assert times.refused == 0
    waited = sum(seconds > STALL / 3 for seconds in times.answers)
    assert waited > 200 * STALL / 3, "a generator that waits for its answers would have seen one"
    assert max(times.answers) >= STALL


def test_waiting_times_are_told_in_milliseconds() -> None:
    told = figures(Times(answers=[0.001] * 98 + [0.005] * 2, late=[0.0001] * 100, seconds=0.5))
    assert told["p99_ms_half_load"] == 5.0
    assert told["half_load"] == {"requests_per_s": 200, "p50_ms": 1.0, "max_ms": 5.0, "late_p99_ms": 0.1}


def test_what_was_not_measured_by_itself_is_what_remains() -> None:
    cost = Cost(main=90.0, others=12.0, core={"idle": 3.0, "interrupts": 20.0})
    stages = complete({"decode": 10.0, "everything but the server": 50.0, "later: lines": 5.0}, cost)
    assert stages["the fast path itself"] == 40.0
    assert stages["server, event loop, sockets"] == 40.0
    assert stages["later: all else, the database's driver above all"] == 7.0
    assert stages["a request"] == 102.0
    assert stages["the core beside it: idle"] == 3.0
    assert stages["from one answer to the next"] == 125.0
