"""Whom the gate lets in."""

from http import HTTPStatus

import pytest

from readmission.serving.http import limits as gates
from readmission.serving.http.auth import Key, KeyRing, Scope, new_key
from readmission.serving.http.limits import ADMIN, PUBLIC, Gate
from readmission.serving.http.problems import ProblemError


def refusal(gate: Gate, path: str = "/predict", given: str = "", address: str = "a") -> ProblemError:
    with pytest.raises(ProblemError) as raised:
        gate.admit(path, given, address)
    return raised.value


@pytest.fixture
def keys() -> dict[Scope, tuple[str, Key]]:
    return {scope: new_key(scope.value, scope) for scope in Scope}


@pytest.fixture
def gate(keys: dict[Scope, tuple[str, Key]]) -> Gate:
    return Gate(KeyRing(key for _, key in keys.values()), rate=0, concurrency=10)


@pytest.mark.parametrize("path", sorted(PUBLIC))
def test_health_and_documentation_are_open(gate: Gate, path: str) -> None:
    assert gate.admit(path, "", "a") == ""


@pytest.mark.parametrize("path", ["/predict", "/explain", "/model-info", "/metrics", "/nowhere"])
@pytest.mark.parametrize("given", ["", "wrong"])
def test_all_else_needs_a_key(gate: Gate, path: str, given: str) -> None:
    problem = refusal(gate, path, given)
    assert problem.kind.status is HTTPStatus.UNAUTHORIZED
    assert problem.headers == {"WWW-Authenticate": "Bearer"}


def test_a_key_opens_what_its_scope_says(gate: Gate, keys: dict[Scope, tuple[str, Key]]) -> None:
    assert gate.admit("/predict", keys[Scope.PREDICT][0], "a") == "predict"
    assert gate.admit("/predict", keys[Scope.ADMIN][0], "a") == "admin"
    for path in ADMIN:
        assert gate.admit(path, keys[Scope.ADMIN][0], "a") == "admin"
        assert refusal(gate, path, keys[Scope.PREDICT][0]).kind.status is HTTPStatus.FORBIDDEN


def test_without_keys_everything_is_open() -> None:
    gate = Gate(KeyRing(), rate=0, concurrency=1)
    assert gate.admit("/metrics", "", "a") == ""


def test_too_many_at_once_are_refused() -> None:
    gate = Gate(KeyRing(), rate=0, concurrency=3)
    for _ in range(3):
        gate.enter()
        gate.admit("/predict", "", "a")
    gate.enter()
    problem = refusal(gate)
    assert problem.kind.status is HTTPStatus.SERVICE_UNAVAILABLE
    assert problem.headers == {"Retry-After": "1"}
    gate.admit("/live", "", "a")
    gate.leave()
    gate.admit("/predict", "", "a")


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(gates, "time", made)
    return made


def test_a_caller_may_ask_so_often(clock: Clock) -> None:
    gate = Gate(KeyRing(), rate=5, concurrency=10)
    for _ in range(5):
        gate.admit("/predict", "", "a")
    problem = refusal(gate)
    assert problem.kind.status is HTTPStatus.TOO_MANY_REQUESTS
    assert problem.headers == {"Retry-After": "1"}
    gate.admit("/predict", "", "b")
    clock.now += 0.2
    gate.admit("/predict", "", "a")
    refusal(gate)


def test_a_slow_rate_tells_how_long_to_wait(clock: Clock) -> None:
    gate = Gate(KeyRing(), rate=0.1, concurrency=10)
    gate.admit("/predict", "", "a")
    assert refusal(gate).headers == {"Retry-After": "10"}
    clock.now += 10
    gate.admit("/predict", "", "a")


def test_callers_are_not_remembered_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "_MOST_CALLERS", 3)
    gate = Gate(KeyRing(), rate=1, concurrency=10)
    for number in range(9):
        gate.admit("/predict", "", str(number))
    assert len(gate._buckets) == 3
