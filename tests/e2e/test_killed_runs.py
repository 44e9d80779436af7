"""Runs that are killed or interrupted at any moment, and two at once: the next run completes, nothing is left over."""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import psutil
import psycopg
import pytest
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from command_line import CommandLine, Outcome, World, build_schemas, has_training_process, look
from processes import all_gone, descendants, eventually
from readmission.settings import Settings

COMMAND = (
    "pipeline", "run", "--data", "synthetic:3000", "--batches", "2", "--models", "decision_tree,gradient_boosting",
    "--json",
)  # fmt: skip


def versions(platform: Settings) -> list[ModelVersion]:
    return MlflowClient(platform.mlflow_url).search_model_versions(f"name = '{platform.model_name}'")


def at_once(*_: object) -> bool:
    return True


def is_registered(platform: Settings, _: psutil.Process) -> bool:
    return bool(versions(platform))


def works_elsewhere(_: Settings, process: psutil.Process) -> bool:
    return has_training_process(process)


@dataclass(frozen=True)
class Moment:
    """When a command is killed: so many seconds after a line of its progress, and after a sign.

    Attributes:
        line: of its progress.
        pause: seconds.
        command: what is killed; a stage alone goes on with the execution that was killed before it.
        sign: what shows that it has got so far.
        then: what is done next, on the execution that was killed.
    """

    line: str
    pause: float
    command: tuple[str, ...] = COMMAND
    sign: Callable[[Settings, psutil.Process], bool] = at_once
    then: tuple[str, ...] = ()


MOMENTS = {
    "download": Moment("download: started", 0.02),
    "split": Moment("split: done", 0.02),
    "store": Moment("store: started", 0.02),
    "clean": Moment("clean: started", 0.1),
    "plan": Moment("plan: started", 0.02),
    "train": Moment("trained ", 0.0, then=("pipeline", "train")),
    "select": Moment("select: started", 0.1, ("pipeline", "select"), works_elsewhere, then=("pipeline", "select")),
    "publish": Moment("publish: started", 0.0, ("pipeline", "publish"), is_registered),
}


@dataclass
class Story:
    """What was seen of several killed commands one after the other, of a second run beside one, and of the rest."""

    platform: Settings
    survivors: dict[str, list[psutil.Process]] = field(default_factory=dict)
    worlds: dict[str, World] = field(default_factory=dict)
    then: dict[str, Outcome] = field(default_factory=dict)
    second: Outcome | None = None
    completed: Outcome | None = None


def kill_at(story: Story, cli: CommandLine, name: str) -> None:
    moment = MOMENTS[name]
    # One as people type it; the others save the seconds in which libraries load.
    with (cli.start if name == "train" else cli.start_warm)(*moment.command) as running:
        running.wait_for_line(moment.line)
        process = psutil.Process(running.process.pid)
        assert eventually(lambda: moment.sign(story.platform, process))
        time.sleep(moment.pause)
        running.process.send_signal(signal.SIGSTOP)  # or it would be further when it is looked at
        if name == "train":
            story.second = cli.invoke(*COMMAND)
        children = descendants(running.process.pid)
        running.process.kill()
        assert running.process.wait() == -9
        story.survivors[name] = [] if all_gone(children) else children
        story.worlds[name] = look(cli.services, story.platform.model_name)
    if moment.then:
        story.then[name] = cli.invoke(*moment.then)


@pytest.fixture(scope="module")
def story(new_platform: Callable[..., Settings]) -> Story:
    story = Story(new_platform())
    cli = CommandLine(story.platform)
    for name in MOMENTS:
        kill_at(story, cli, name)
    story.completed = cli.invoke(*COMMAND, "--no-report")
    return story


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_run_leaves_no_process(story: Story, moment: str) -> None:
    assert story.survivors[moment] == []


@pytest.mark.parametrize("moment", [name for name, moment in MOMENTS.items() if moment.then])
def test_the_killed_stage_may_run_again(story: Story, moment: str) -> None:
    assert story.then[moment].code == 0, story.then[moment].stderr


@pytest.mark.parametrize("moment", ["download", "split", "store"])
def test_a_run_killed_early_leaves_no_tables(story: Story, moment: str) -> None:
    assert {name for name, (rows, _) in story.worlds[moment].tables.items() if rows} <= {"raw.split_memory"}


@pytest.mark.parametrize("moment", ["plan", "train", "select", "publish"])
def test_a_run_killed_late_leaves_whole_tables(story: Story, moment: str) -> None:
    rows = {name: count for name, (count, _) in story.worlds[moment].tables.items()}
    assert rows["raw.train_raw"] + rows["raw.validation_raw"] + rows["raw.test_raw"] == 3000
    assert rows["raw.train_raw"] == rows["clean.train_clean"] == rows["clean.train_cumulative_1"]


def test_nothing_is_in_production_before_a_run_publishes(story: Story) -> None:
    before = [world for moment, world in story.worlds.items() if moment != "publish"]
    assert {world.production for world in before} == {None}
    assert {world.promotions for world in before} == {0}


def test_the_same_command_completes_afterwards(story: Story) -> None:
    assert story.completed is not None
    assert story.completed.code == 0, story.completed.stderr
    assert story.completed.summary["models"] == 4
    after = look(CommandLine(story.platform).services, story.platform.model_name)
    assert after.production == story.completed.summary["registered_version"]
    assert after.tables["raw.assignment"][0] == 3000
    assert {name: after.tables[name] for name in after.tables if name != "raw.split_memory"} == {
        name: content for name, content in story.worlds["publish"].tables.items() if name != "raw.split_memory"
    }


def test_nothing_is_left_over(story: Story) -> None:
    assert build_schemas(CommandLine(story.platform).services) == []
    assert not any((story.platform.home / "scratch").glob("*"))
    services = CommandLine(story.platform).services
    with psycopg.connect(services.platform_url.get_secret_value()) as connection:
        assert connection.execute("SELECT count(*) FROM swaps").fetchone() == (0,)


def test_no_run_in_mlflow_pretends_to_be_running(story: Story) -> None:
    client = MlflowClient(story.platform.mlflow_url)
    experiment = client.get_experiment_by_name(story.platform.experiment)
    assert experiment is not None
    statuses = [run.info.status for run in client.search_runs([experiment.experiment_id])]
    assert set(statuses) == {"FINISHED", "KILLED"}


def test_versions_are_not_duplicated(story: Story) -> None:
    found = versions(story.platform)
    assert len({version.run_id for version in found}) == len(found)
    assert sum(version.current_stage == "Production" for version in found) == 1


def test_a_second_run_names_who_holds_the_lock(story: Story) -> None:
    assert story.second is not None
    assert story.second.code == 3
    assert "Another pipeline run is under way" in story.second.complaint
    assert "process " in story.second.complaint


@pytest.mark.parametrize("moment", ["at the start", "download: done", "trained "])
def test_ctrl_c_ends_everything(new_platform: Callable[..., Settings], moment: str) -> None:
    cli = CommandLine(new_platform())
    with cli.start(*COMMAND) as running:
        if moment == "at the start":
            time.sleep(3)
        else:
            running.wait_for_line(moment)
        children = descendants(running.process.pid)
        running.interrupt()
        outcome = running.finish()
        assert all_gone(children)
    # Where the interrupt struck within an import, Python ends by the signal itself; a shell shows 130 for both.
    assert outcome.code in (130, -signal.SIGINT)
    assert outcome.complaint == "interrupted"
    assert look(cli.services, cli.settings.model_name).production is None
