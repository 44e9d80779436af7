"""What the API offers stands in its documentation: every endpoint, every metric."""

import re
from pathlib import Path

import httpx
import pytest

DOCUMENT = (Path(__file__).resolve().parents[3] / "docs" / "api.md").read_text()


def test_every_endpoint_is_documented(client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert len(paths) >= 9
    for path, methods in paths.items():
        for method in methods:
            assert f"`{method.upper()} {path}`" in DOCUMENT


def test_every_metric_is_documented(client: httpx.Client) -> None:
    names = re.findall(r"^# TYPE (\S+) (counter|gauge|histogram)$", client.get("/metrics").text, re.MULTILINE)
    own = {name for name, _ in names if not name.endswith("_created") and not name.startswith("process_")}
    assert len(own) >= 12
    assert [name for name in sorted(own) if f"`{name}`" not in DOCUMENT] == []


@pytest.mark.parametrize("header", ["X-Request-Id", "X-Prediction-Id", "X-Model-Version"])
def test_every_header_is_documented(header: str) -> None:
    assert f"`{header}`" in DOCUMENT
