"""A service that dies in the middle of a run: one plain line, production as it was, and the next run completes."""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from command_line import CommandLine, Outcome, World, all_gone, build_schemas, descendants, look
from readmission.local.stack import LocalStack
from readmission.settings import Settings

COMMAND = (
    "pipeline", "run", "--data", "synthetic:3000", "--batches", "2", "--models", "decision_tree,gradient_boosting",
    "--json",
)  # fmt: skip
LOSSES = {
    "database while cleaning": ("postgres", "clean: started"),
    "database while training": ("postgres", "trained "),
    "mlflow while training": ("mlflow", "trained "),
    "mlflow while publishing": ("mlflow", "publish: started"),
    "artifact store while training": ("s3", "trained "),
}
"""Which service dies, and after which line of progress."""


@dataclass
class Loss:
    """What was seen of a run that lost a service.

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
class Story:
    """Every loss in turn on one stack, and a run after them all."""

    cli: CommandLine
    losses: dict[str, Loss]
    completed: Outcome


def lose(stack: LocalStack, cli: CommandLine, service: str, line: str) -> Loss:
    before = look(cli.services, cli.settings.model_name)
    with cli.start(*COMMAND) as running:
        running.wait_for_line(line)
        os.kill(stack.children[service].pid, signal.SIGKILL)
        children = descendants(running.process.pid)
        outcome = running.finish()
        left = not all_gone(children)
    stack.check()  # what `make run` does every second: it starts again what has ended
    return Loss(outcome, left, before, look(cli.services, cli.settings.model_name))


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, new_settings: Callable[..., Settings]) -> Story:
    settings = new_settings(tmp_path_factory.mktemp("losses") / "home", workers=2)
    cli = CommandLine(settings)
    with LocalStack(settings) as stack:
        first = cli.invoke(*COMMAND)
        assert first.code == 0, first.stderr
        losses = {name: lose(stack, cli, *loss) for name, loss in LOSSES.items()}
        completed = cli.invoke(*COMMAND)
        assert build_schemas(cli.services) == []
    return Story(cli, losses, completed)


@pytest.mark.parametrize("name", LOSSES)
def test_one_line_says_which_service_is_down(story: Story, name: str) -> None:
    outcome = story.losses[name].outcome
    assert outcome.code == 3, outcome.stderr
    settings = story.cli.settings
    # The database is MLflow's too, and MLflow is the artifact store's door: either may be the first to be missed.
    addresses = [f"127.0.0.1:{port}" for port in (settings.postgres_port, settings.mlflow_port, settings.s3_port)]
    assert any(address in outcome.complaint for address in addresses)


@pytest.mark.parametrize("name", LOSSES)
def test_nothing_of_the_run_lives_on(story: Story, name: str) -> None:
    assert not story.losses[name].left


@pytest.mark.parametrize("name", LOSSES)
def test_production_is_as_it_was(story: Story, name: str) -> None:
    loss = story.losses[name]
    assert loss.before.production == loss.after.production == "1"
    assert loss.before.promotions == loss.after.promotions == 1


@pytest.mark.parametrize("name", LOSSES)
def test_tables_are_whole(story: Story, name: str) -> None:
    rows = {table: count for table, (count, _) in story.losses[name].after.tables.items()}
    assert rows["raw.train_raw"] + rows["raw.validation_raw"] + rows["raw.test_raw"] == 3000
    assert rows["raw.train_raw"] == rows["clean.train_clean"] == rows["clean.train_cumulative_1"]


def test_the_same_command_completes_afterwards(story: Story) -> None:
    assert story.completed.code == 0, story.completed.stderr
    assert story.completed.summary["models"] == 4
