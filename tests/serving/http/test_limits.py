"""Which requests are authorised."""

from http import HTTPStatus

import pytest

from readmission.serving.http import limits
from readmission.serving.http.auth import ApiKeys, Key, Scope, new_key
from readmission.serving.http.limits import ADMIN, PUBLIC, AccessControl
from readmission.serving.http.problems import ProblemError


def refusal(access: AccessControl, path: str = "/predict", given: str = "", address: str = "a") -> ProblemError:
    with pytest.raises(ProblemError) as raised:
        access.authorise(path, given, address)
    return raised.value


@pytest.fixture
def keys() -> dict[Scope, tuple[str, Key]]:
    return {scope: new_key(scope.value, scope) for scope in Scope}


@pytest.fixture
def access(keys: dict[Scope, tuple[str, Key]]) -> AccessControl:
    return AccessControl(ApiKeys(key for _, key in keys.values()), rate=0, concurrency=10)


@pytest.mark.parametrize("path", sorted(PUBLIC))
def test_health_and_documentation_are_open(access: AccessControl, path: str) -> None:
    assert access.authorise(path, "", "a") == ""


@pytest.mark.parametrize("path", ["/predict", "/explain", "/model-info", "/metrics", "/nowhere"])
@pytest.mark.parametrize("given", ["", "wrong"])
def test_all_else_needs_a_key(access: AccessControl, path: str, given: str) -> None:
    problem = refusal(access, path, given)
    assert problem.type.status is HTTPStatus.UNAUTHORIZED
    assert problem.headers == {"WWW-Authenticate": "Bearer"}


def test_a_key_opens_what_its_scope_says(access: AccessControl, keys: dict[Scope, tuple[str, Key]]) -> None:
    assert access.authorise("/predict", keys[Scope.PREDICT][0], "a") == "predict"
    assert access.authorise("/predict", keys[Scope.ADMIN][0], "a") == "admin"
    for path in ADMIN:
        assert access.authorise(path, keys[Scope.ADMIN][0], "a") == "admin"
        assert refusal(access, path, keys[Scope.PREDICT][0]).type.status is HTTPStatus.FORBIDDEN


def test_without_keys_everything_is_open() -> None:
    access = AccessControl(ApiKeys(), rate=0, concurrency=1)
    assert access.authorise("/metrics", "", "a") == ""


def test_too_many_at_once_are_refused() -> None:
    access = AccessControl(ApiKeys(), rate=0, concurrency=3)
    for _ in range(3):
        access.begin()
        access.authorise("/predict", "", "a")
    access.begin()
    problem = refusal(access)
    assert problem.type.status is HTTPStatus.SERVICE_UNAVAILABLE
    assert problem.headers == {"Retry-After": "1"}
    access.authorise("/live", "", "a")
    access.end()
    access.authorise("/predict", "", "a")


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(limits, "time", made)
    return made


def test_a_caller_may_ask_so_often(clock: Clock) -> None:
    access = AccessControl(ApiKeys(), rate=5, concurrency=10)
    for _ in range(5):
        access.authorise("/predict", "", "a")
    problem = refusal(access)
    assert problem.type.status is HTTPStatus.TOO_MANY_REQUESTS
    assert problem.headers == {"Retry-After": "1"}
    access.authorise("/predict", "", "b")
    clock.now += 0.2
    access.authorise("/predict", "", "a")
    refusal(access)


def test_a_slow_rate_tells_how_long_to_wait(clock: Clock) -> None:
    access = AccessControl(ApiKeys(), rate=0.1, concurrency=10)
    access.authorise("/predict", "", "a")
    assert refusal(access).headers == {"Retry-After": "10"}
    clock.now += 10
    access.authorise("/predict", "", "a")


def test_callers_are_not_remembered_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_MAX_CALLERS", 3)
    access = AccessControl(ApiKeys(), rate=1, concurrency=10)
    for number in range(9):
        access.authorise("/predict", "", str(number))
    assert len(access._buckets) == 3
