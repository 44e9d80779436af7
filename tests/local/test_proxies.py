"""Services of this machine are reached directly, whatever proxies the environment names."""

from collections.abc import Callable

import pytest
import requests

from command_line import CommandLine, closed_port
from readmission.local.proxies import NAMES, past_proxies
from readmission.settings import Settings

HERE = "127.0.0.1,localhost"


@pytest.mark.parametrize(
    ("environment", "value"),
    [
        ({}, HERE),
        ({"NO_PROXY": ""}, HERE),
        ({"NO_PROXY": "a.example, .b.example"}, f"a.example,.b.example,{HERE}"),
        ({"no_proxy": "a.example"}, f"a.example,{HERE}"),
        ({"NO_PROXY": "a.example", "no_proxy": "b.example"}, f"a.example,b.example,{HERE}"),
        ({"no_proxy": "localhost"}, "localhost,127.0.0.1"),
        ({"NO_PROXY": "*"}, "*"),
    ],
)
def test_both_spellings_name_this_machine(environment: dict[str, str], value: str) -> None:
    assert past_proxies(environment) == dict.fromkeys(NAMES, value)
    assert past_proxies(past_proxies(environment)) == past_proxies(environment)


def test_libraries_understand_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    for name, value in past_proxies({"NO_PROXY": ".corp.example"}).items():
        monkeypatch.setenv(name, value)
    proxied = {
        host: bool(requests.utils.get_environ_proxies(f"http://{host}:8002"))
        for host in ("127.0.0.1", "localhost", "mlflow.corp.example", "archive.example")
    }
    assert proxied == {"127.0.0.1": False, "localhost": False, "mlflow.corp.example": False, "archive.example": True}


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy"])
def test_a_run_behind_a_proxy_reaches_every_local_service(
    new_platform: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port()}")
    outcome = CommandLine(new_platform()).run(
        "pipeline", "run", "--data", "synthetic:3000", "--batches", "1", "--models", "decision_tree", "--no-report",
        "--json",
    )  # fmt: skip
    assert outcome.code == 0, outcome.stderr
    assert outcome.summary["registered_version"] == "1"
