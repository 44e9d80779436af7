"""``POST /predict/batch`` over a real server: answers as of ``/predict``, in three forms, or wrong fields named."""

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from serving_bundle import records
from test_predict_api import as_json, problem, wrong_fields

from readmission.schema import COLUMN_NAMES, LABELS, RECORD_COLUMNS

SECRET = "Zebediah"
Rows = list[dict[str, Any]]


def as_csv(rows: Rows, names: tuple[str, ...] = tuple(column.name for column in RECORD_COLUMNS)) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="?", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def send(client: httpx.Client, kind: str, content: str | bytes) -> httpx.Response:
    return client.post("/predict/batch", content=content, headers={"Content-Type": kind})


def by_json(client: httpx.Client, rows: Rows) -> Rows:
    answer = send(client, "application/json", json.dumps({"records": rows}))
    assert answer.status_code == 200, answer.text
    return list(answer.json()["predictions"])


def by_ndjson(client: httpx.Client, rows: Rows) -> Rows:
    answer = send(client, "application/x-ndjson", "\n".join(map(json.dumps, rows)))
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def by_csv(client: httpx.Client, rows: Rows) -> Rows:
    answer = send(client, "text/csv; charset=utf-8", as_csv(rows))
    assert answer.status_code == 200, answer.text
    return [
        {
            "readmission_prediction": row["readmission_prediction"],
            "probabilities": {label: float(row[f"probability_{label}"]) for label in ("NO", "<30", ">30")},
            "prediction_id": row["prediction_id"],
        }
        for row in csv.DictReader(io.StringIO(answer.text))
    ]


FORMS: list[Callable[[httpx.Client, Rows], Rows]] = [by_json, by_ndjson, by_csv]


@pytest.mark.parametrize("form", FORMS)
def test_answers_are_those_of_single_predictions(client: httpx.Client, form: Callable[..., Rows]) -> None:
    rows = [as_json(row) for row in records(120, seed=17)]
    found = form(client, rows)
    assert len(found) == len(rows)
    for row, answer in zip(rows, found, strict=True):
        expected = client.post("/predict", json={"features": row}).json()
        assert answer["readmission_prediction"] == expected["readmission_prediction"]
        for label in LABELS:
            assert answer["probabilities"][label] == pytest.approx(expected["probabilities"][label], abs=1e-6)
    assert len({answer["prediction_id"] for answer in found}) == len(rows)


@pytest.mark.parametrize("form", FORMS)
def test_more_rows_than_a_chunk_keep_their_order(client: httpx.Client, form: Callable[..., Rows]) -> None:
    few = [as_json(row) for row in records(7, seed=18)]
    found = form(client, (few * 1500)[:10_000])
    kinds = [answer["probabilities"] for answer in found]
    assert len(kinds) == 10_000
    assert all(kinds[place] == kinds[place % 7] for place in range(10_000))


@pytest.mark.parametrize("form", FORMS)
def test_fields_that_are_left_out_are_missing(client: httpx.Client, form: Callable[..., Rows]) -> None:
    one, other = form(client, [{"race": "Asian"}, {"race": "Asian", "weight": "?"}])
    assert one["probabilities"] == other["probabilities"]


def test_an_empty_csv_field_is_missing(client: httpx.Client) -> None:
    answer = send(client, "text/csv", "race,time_in_hospital\n,\n?,?\n")
    first, second = answer.text.splitlines()[1:]
    assert first.split(",")[:4] == second.split(",")[:4]


def test_identifiers_and_outcome_are_ignored(client: httpx.Client) -> None:
    rows = [
        row | {"encounter_id": 5, "patient_nbr": 6, "readmitted": "NO"} for row in map(as_json, records(3, seed=19))
    ]
    plain = by_json(client, [{name: row[name] for name in row if name in COLUMN_NAMES[2:-1]} for row in rows])
    for found in (by_json(client, rows), [*map(dict, by_csv_with_all(client, rows))]):
        assert [a["readmission_prediction"] for a in found] == [a["readmission_prediction"] for a in plain]


def test_ignored_fields_may_hold_anything(client: httpx.Client) -> None:
    answer = send(client, "application/json", '{"records":[{"encounter_id":[1],"race":"Asian"}]}')
    assert answer.status_code == 200


def by_csv_with_all(client: httpx.Client, rows: Rows) -> Rows:
    answer = send(client, "text/csv", as_csv(rows, COLUMN_NAMES))
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.text)))


def test_no_records_get_no_answers(client: httpx.Client) -> None:
    assert send(client, "application/json", '{"records":[]}').json() == {"predictions": []}
    assert send(client, "application/x-ndjson", "").text == ""
    assert send(client, "text/csv", "race\n").text.count("\n") == 1


WRONG: list[tuple[str, str, list[str]]] = [
    (
        "application/json",
        '{"records":[{},{"time_in_hospital":400,"race":5}]}',
        ["records.1.race", "records.1.time_in_hospital"],
    ),
    ("application/json", '{"records":[{"blood_type":"A"}]}', ["records.0.blood_type"]),
    ("application/json", '{"records":[{"race":["x"]}]}', ["records.0.race"]),
    ("application/json", '{"records":[{"time_in_hospital":true}]}', ["records.0.time_in_hospital"]),
    ("application/json", '{"rows":[]}', ["body"]),
    ("application/json", '{"records":[3,{}]}', ["records.0"]),
    ("application/x-ndjson", '{}\n{"diag_1":7}', ["line 2, diag_1"]),
    ("text/csv", "race,time_in_hospital\nAsian,3\nAsian,x\n", ["line 3, time_in_hospital"]),
    ("text/csv", "race,time_in_hospital\nAsian,3.0\n", ["line 2, time_in_hospital"]),
    ("text/csv", "race,blood_type\nAsian,3\n", ["header, blood_type"]),
    ("text/csv", "race,race\nAsian,Asian\n", ["header, race"]),
    ("text/csv", f"race,age\nAsian,1\n{SECRET}\n", ["line 3"]),
]


@pytest.mark.parametrize(("kind", "content", "fields"), WRONG)
def test_wrong_fields_are_named(client: httpx.Client, kind: str, content: str, fields: list[str]) -> None:
    answer = send(client, kind, content)
    assert wrong_fields(answer) == fields
    assert SECRET not in answer.text


def test_one_wrong_field_in_many_rows_is_told_a_hundred_times(client: httpx.Client) -> None:
    answer = send(client, "text/csv", "time_in_hospital\n" + "999\n" * 5000)
    assert len(wrong_fields(answer)) == 100


@pytest.mark.parametrize("content", ["{", "[1", "\ud800".encode("utf-8", "surrogatepass")])
def test_what_is_no_json_is_a_bad_request(client: httpx.Client, content: str | bytes) -> None:
    assert problem(send(client, "application/json", content), 400)["type"].endswith(":invalid_json")


@pytest.mark.parametrize("content", [b"\xff\xfe", b"race\n\xff\n", b'race\n"Asian\n', b""])
def test_what_is_no_csv_is_refused(client: httpx.Client, content: bytes) -> None:
    answer = send(client, "text/csv", content)
    assert answer.status_code in (200, 422)
    if answer.status_code == 422:
        problem(answer, 422)


def test_another_form_is_refused(client: httpx.Client) -> None:
    answer = send(client, "application/xml", "<records/>")
    assert "text/csv" in problem(answer, 415)["detail"]


def test_too_many_rows_are_refused(client: httpx.Client) -> None:
    answer = send(client, "text/csv", "race\n" + "Asian\n" * 100_001)
    assert "100,000" in problem(answer, 413)["detail"]


def test_the_version_is_told(client: httpx.Client) -> None:
    assert send(client, "text/csv", "race\nAsian\n").headers["X-Model-Version"] == "7"


def test_without_a_model_there_are_no_answers(empty_client: httpx.Client) -> None:
    problem(send(empty_client, "text/csv", "race\nAsian\n"), 503)


def test_the_example_of_the_documentation_is_answered(client: httpx.Client) -> None:
    description = client.get("/openapi.json").json()
    content = description["paths"]["/predict/batch"]["post"]["requestBody"]["content"]
    answer = send(client, "text/csv", content["text/csv"]["example"])
    assert answer.status_code == 200
    assert answer.text.count("\n") == 2
