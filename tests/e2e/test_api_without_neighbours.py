"""Each real neighbour of the API killed, frozen and brought back under load: no prediction fails and none is lost."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import psutil
import psycopg
import pytest

from api_process import ApiProcess, api_process
from command_line import CommandLine, eventually
from documented import FULL_BODY
from load import Load
from readmission.local.stack import LocalStack
from readmission.settings import Settings

TRAIN = ("pipeline", "run", "--data", "synthetic:6000", "--batches", "1", "--models", "gradient_boosting", "--json")
SECONDS = 6.0
"""That a neighbour is away: longer than any of the API's own patience with the database."""

SERVICES = ("postgres", "mlflow", "s3")
FAULTS = [(service, kind) for service in SERVICES for kind in ("killed", "frozen")]


@dataclass
class Story:
    """What was seen.

    Attributes:
        loads: by fault.
        ready: what ``/ready`` and the metric of the database said during each fault.
        moved: load while another version was published, and its number.
        codes: how the API ended.
        ids: of all predictions that were answered.
        stored: of all that are in the database at the end.
        log: everything the API wrote.
    """

    loads: dict[tuple[str, str], Load] = field(default_factory=dict)
    ready: dict[tuple[str, str], tuple[int, float]] = field(default_factory=dict)
    moved: tuple[Load, str] | None = None
    code: int | None = None
    ids: set[str] = field(default_factory=set)
    stored: set[str] = field(default_factory=set)
    log: str = ""


@contextmanager
def lost(stack: LocalStack, service: str, kind: str) -> Iterator[None]:
    """Take a service away, then bring it back."""
    root = psutil.Process(stack.children[service].pid)
    processes = [root, *root.children(recursive=True)]
    if kind == "killed":
        os.kill(root.pid, signal.SIGKILL)
        yield
        stack.check()  # what `make run` does every second: it starts again what has ended
        return
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            if process.is_running():
                process.resume()


def look(api: ApiProcess) -> tuple[int, float]:
    lines = httpx.get(f"{api.url}/metrics", trust_env=False).text.splitlines()
    up = next(float(line.rpartition(" ")[2]) for line in lines if line.startswith("prediction_store_up"))
    return httpx.get(f"{api.url}/ready", trust_env=False).status_code, up


def publish_another(cli: CommandLine) -> str:
    """Train once more; on so few rows the gate may refuse the version, then a person promotes it."""
    trained = cli.run(*TRAIN, "--seed", "7").summary
    version = str(trained["registered_version"])
    if trained["decision"] == "refused":
        assert cli.run("promote", version, "--reason", "a test").code == 0
    return version


def go_through(stack: LocalStack, api: ApiProcess, cli: CommandLine) -> Story:
    story = Story()
    for fault in FAULTS:
        with Load(api.url, FULL_BODY) as load:
            load.wait_for_more(100)
            with lost(stack, *fault):
                time.sleep(SECONDS)
                story.ready[fault] = look(api)
            load.wait_for_more(300)
        story.loads[fault] = load
    with Load(api.url, FULL_BODY) as load:
        version = publish_another(cli)
        assert eventually(lambda: load.answers[-1].version == version)
        load.wait_for_more(200)
    story.moved = load, version
    story.ids = {answer.prediction_id for load in (*story.loads.values(), load) for answer in load.answers}
    return story


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, new_settings: Callable[..., Settings]) -> Story:
    folder = tmp_path_factory.mktemp("neighbours")
    settings = new_settings(folder / "home", workers=1)
    cli = CommandLine(settings)
    with LocalStack(settings) as stack:
        first = cli.run(*TRAIN)
        assert first.code == 0, first.stderr
        assert first.summary["decision"] == "published", first.summary["reasons"]
        url = cli.services.platform_url.get_secret_value()
        neighbours = {"mlflow_url": cli.services.mlflow_url, "platform_database_url": url}
        with api_process(folder / "api", **neighbours, model_poll_seconds="0.5") as api:
            story = go_through(stack, api, cli)
            story.code = api.stop()
            story.log = api.log.read_text()
        with psycopg.connect(url) as connection:
            story.stored = {str(number) for (number,) in connection.execute("SELECT id FROM predictions").fetchall()}
    return story


@pytest.mark.parametrize("fault", FAULTS, ids="-".join)
def test_no_prediction_fails(story: Story, fault: tuple[str, str]) -> None:
    story.loads[fault].check()
    assert max(answer.seconds for answer in story.loads[fault].answers) < 5.0


@pytest.mark.parametrize("fault", FAULTS, ids="-".join)
def test_readiness_and_metrics_tell(story: Story, fault: tuple[str, str]) -> None:
    assert story.ready[fault] == (200, 0.0 if fault[0] == "postgres" else 1.0)


def test_no_prediction_is_lost(story: Story) -> None:
    assert len(story.ids) > 1_000
    assert story.ids <= story.stored


def test_a_new_model_takes_over_under_load(story: Story) -> None:
    assert story.moved is not None
    load, version = story.moved
    load.check()
    assert load.versions == {"1", version}
    order = [answer.version for answer in sorted(load.answers, key=lambda answer: answer.at - answer.seconds)]
    assert order == sorted(order)


def test_it_ends_when_asked_and_logged_no_value(story: Story) -> None:
    assert story.code in (0, -15)
    assert "Traceback" not in story.log
    assert "Caucasian" not in story.log
