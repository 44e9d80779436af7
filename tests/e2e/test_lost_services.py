"""Services that die or hang: a run says so in one line and changes nothing; the API answers on and loses nothing."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psutil
import psycopg
import pytest

import plain_http
from api_process import ApiProcess, api_process
from command_line import CommandLine, Outcome, World, build_schemas, has_training_process, look
from documented import FULL_BODY
from load import Load
from processes import all_gone, descendants, eventually
from readmission.local.stack import LocalStack
from readmission.settings import Settings

OPTIONS = ("--data", "synthetic:3000", "--batches", "2", "--models", "decision_tree,gradient_boosting", "--no-report")
RUN = ("pipeline", "run", *OPTIONS, "--json")


@dataclass(frozen=True)
class Loss:
    """Which service is killed, after which line of which command's progress; ``first`` come the stages before it.

    A stage alone goes on with the latest execution, which the loss before has cut short. The database and MLflow are
    killed twice by these and once by ``FAULTS``: a stack restarts each three times.
    """

    service: str
    line: str
    command: tuple[str, ...] = RUN
    first: tuple[str, ...] = ()


LOSSES = {
    "database while cleaning": Loss("postgres", "clean: started"),
    "database while training": Loss("postgres", "trained "),
    "mlflow while training": Loss("mlflow", "trained ", ("pipeline", "train")),
    "artifact store while training": Loss("s3", "trained ", ("pipeline", "train")),
    "mlflow while publishing": Loss("mlflow", "publish: started", ("pipeline", "publish"), first=("train", "select")),
}

AWAY = {"postgres": 6.0, "mlflow": 3.0, "s3": 2.0}
"""Seconds without each: longer than the API's patience with the database, several looks at MLflow."""

FAULTS = [(service, kind) for service in AWAY for kind in ("killed", "frozen")]


@dataclass(frozen=True)
class Lost:
    """What was seen of a command that lost a service.

    Attributes:
        outcome: how the command ended.
        left: whether a process of it lived on.
        before, after: the world around it; ``after`` once the service is back.
    """

    outcome: Outcome
    left: bool
    before: World
    after: World


@dataclass
class ApiStory:
    """What was seen of the API.

    Attributes:
        loads: by fault.
        ready: what ``/ready`` and the metric of the database said during each fault.
        first: version in production at its start.
        moved: load while another version was published, and its number.
        completed: how the run that trained it ended.
        code: how the API ended.
        ids: of all predictions that were answered.
        stored: of all that are in the database at the end.
        log: everything the API wrote.
    """

    loads: dict[tuple[str, str], Load] = field(default_factory=dict)
    ready: dict[tuple[str, str], tuple[int, float]] = field(default_factory=dict)
    first: str = ""
    moved: tuple[Load, str] | None = None
    completed: Outcome | None = None
    code: int | None = None
    ids: set[str] = field(default_factory=set)
    stored: set[str] = field(default_factory=set)
    log: str = ""


@dataclass(frozen=True)
class OwnStack:
    """Servers that may be killed, with one model in production."""

    stack: LocalStack
    cli: CommandLine

    def see(self) -> World:
        return look(self.cli.services, self.cli.settings.model_name)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, new_settings: Callable[..., Settings]) -> Iterator[OwnStack]:
    settings = new_settings(tmp_path_factory.mktemp("losses") / "home", workers=2)
    cli = CommandLine(settings)
    with LocalStack(settings) as stack, pytest.MonkeyPatch.context() as patch:
        # MLflow's client tries as often as for people, but without its pauses of seconds.
        patch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
        done(cli.invoke(*RUN))
        yield OwnStack(stack, cli)


def done(outcome: Outcome) -> Outcome:
    assert outcome.code == 0, outcome.stderr
    return outcome


def lose(own: OwnStack, loss: Loss) -> Lost:
    for stage in loss.first:
        done(own.cli.invoke("pipeline", stage))
    before = own.see()
    with own.cli.start_warm(*loss.command) as running:
        running.wait_for_line(loss.line)
        if loss.command == ("pipeline", "publish"):  # its work is done there, once libraries are loaded
            assert eventually(lambda: has_training_process(psutil.Process(running.process.pid)))
        os.kill(own.stack.children[loss.service].pid, signal.SIGKILL)
        children = descendants(running.process.pid)
        outcome = running.finish()
        left = not all_gone(children)
    own.stack.check()  # what `make run` does every second: it starts again what has ended
    return Lost(outcome, left, before, own.see())


@pytest.fixture(scope="module")
def losses(own: OwnStack) -> dict[str, Lost]:
    """Every loss in turn."""
    return {name: lose(own, loss) for name, loss in LOSSES.items()}


@contextmanager
def away(stack: LocalStack, service: str, kind: str) -> Iterator[None]:
    """Take a service away, then bring it back."""
    root = psutil.Process(stack.children[service].pid)
    processes = [root, *descendants(root.pid)]
    if kind == "killed":
        os.kill(root.pid, signal.SIGKILL)
        yield
        stack.check()
        return
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            if process.is_running():
                process.resume()


def readiness(api: ApiProcess) -> tuple[int, float]:
    lines = plain_http.get(f"{api.url}/metrics").text.splitlines()
    up = next(float(line.rpartition(" ")[2]) for line in lines if line.startswith("prediction_store_up"))
    return plain_http.get(f"{api.url}/ready").status_code, up


def publish_another(cli: CommandLine) -> Outcome:
    """Train once more; on so few rows the gate may refuse the version, then a person promotes it."""
    trained = done(cli.run(*RUN))
    if trained.summary["decision"] == "refused":
        done(cli.run("promote", trained.summary["registered_version"], "--reason", "a test"))
    return trained


def go_through(own: OwnStack, api: ApiProcess) -> ApiStory:
    story = ApiStory(first=own.see().production or "")
    for fault in FAULTS:
        with Load(api.url, FULL_BODY) as load:
            load.wait_for_more(100)
            with away(own.stack, *fault):
                time.sleep(AWAY[fault[0]])
                story.ready[fault] = readiness(api)
            load.wait_for_more(300)
            assert eventually(lambda: readiness(api) == (200, 1.0)), f"not as before after {fault}"
        story.loads[fault] = load
    with Load(api.url, FULL_BODY) as load:
        story.completed = publish_another(own.cli)
        version = str(story.completed.summary["registered_version"])
        assert eventually(lambda: load.answers[-1].version == version)
        load.wait_for_more(200)
    story.moved = load, version
    story.ids = {answer.prediction_id for load in (*story.loads.values(), load) for answer in load.answers}
    return story


@pytest.fixture(scope="module")
def story(own: OwnStack, losses: dict[str, Lost], tmp_path_factory: pytest.TempPathFactory) -> ApiStory:
    """The API through every fault, and while the run after all the losses publishes another version."""
    services = own.cli.services
    url = services.platform_url.get_secret_value()
    neighbours = {"mlflow_url": services.mlflow_url, "platform_database_url": url, "model_poll_seconds": "0.5"}
    with api_process(tmp_path_factory.mktemp("api"), **neighbours) as api:
        story = go_through(own, api)
        story.code = api.stop()
        story.log = api.log.read_text()
    with psycopg.connect(url) as connection:
        story.stored = {str(number) for (number,) in connection.execute("SELECT id FROM predictions").fetchall()}
    return story


@pytest.mark.parametrize("name", LOSSES)
def test_one_line_says_which_service_is_down(own: OwnStack, losses: dict[str, Lost], name: str) -> None:
    outcome = losses[name].outcome
    assert outcome.code == 3, outcome.stderr
    settings = own.cli.settings
    # The database is MLflow's too, and MLflow is the artifact store's door: either may be the first to be missed.
    addresses = [f"127.0.0.1:{port}" for port in (settings.postgres_port, settings.mlflow_port, settings.s3_port)]
    assert any(address in outcome.complaint for address in addresses)


@pytest.mark.parametrize("name", LOSSES)
def test_nothing_of_the_run_lives_on(losses: dict[str, Lost], name: str) -> None:
    assert not losses[name].left


@pytest.mark.parametrize("name", LOSSES)
def test_production_is_as_it_was(losses: dict[str, Lost], name: str) -> None:
    lost = losses[name]
    assert lost.before.production == lost.after.production == "1"
    assert lost.before.promotions == lost.after.promotions == 1


@pytest.mark.parametrize("name", LOSSES)
def test_tables_are_whole(losses: dict[str, Lost], name: str) -> None:
    rows = {table: count for table, (count, _) in losses[name].after.tables.items()}
    assert rows["raw.train_raw"] + rows["raw.validation_raw"] + rows["raw.test_raw"] == 3000
    assert rows["raw.train_raw"] == rows["clean.train_clean"] == rows["clean.train_cumulative_1"]


def test_the_same_command_completes_afterwards(own: OwnStack, story: ApiStory) -> None:
    assert story.completed is not None
    assert story.completed.summary["models"] == 4
    assert build_schemas(own.cli.services) == []


@pytest.mark.parametrize("fault", FAULTS, ids="-".join)
def test_no_prediction_fails(story: ApiStory, fault: tuple[str, str]) -> None:
    load = story.loads[fault]
    load.check()
    assert len(load.answers) >= 400
    # None waits until the database is back.
    assert max(answer.seconds for answer in load.answers) < AWAY["postgres"] - 1


@pytest.mark.parametrize("fault", FAULTS, ids="-".join)
def test_readiness_and_metrics_tell(story: ApiStory, fault: tuple[str, str]) -> None:
    assert story.ready[fault] == (200, 0.0 if fault[0] == "postgres" else 1.0)


def test_no_prediction_is_lost(story: ApiStory) -> None:
    assert len(story.ids) > 1_000
    assert story.ids <= story.stored


def test_a_new_model_takes_over_under_load(story: ApiStory) -> None:
    assert story.moved is not None
    load, version = story.moved
    load.check()
    assert story.first == "1"
    assert load.versions == {"1", version}
    order = [answer.version for answer in sorted(load.answers, key=lambda answer: answer.at - answer.seconds)]
    assert order == sorted(order)


def test_it_ends_when_asked_and_logged_no_value(story: ApiStory) -> None:
    assert story.code in (0, -15)
    assert "Traceback" not in story.log
    assert "Caucasian" not in story.log
