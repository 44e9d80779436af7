"""The gate on real servers: what may replace production, what may not, and what is said about it."""

from collections.abc import Callable
from dataclasses import dataclass

import psycopg
import pytest
from mlflow import MlflowClient

from command_line import CommandLine, Outcome, look, production
from readmission.settings import Settings

RUN = ("pipeline", "run", "--batches", "1", "--models", "gradient_boosting", "--no-report", "--json")
WORSE = ("pipeline", "run", "--batches", "1", "--models", "decision_tree", "--no-report", "--json")
pytestmark = pytest.mark.usefixtures("training_server")
STRICT = {"GATE_F1_MARGIN": "0"}


@dataclass(frozen=True)
class Story:
    """Runs one after the other on one platform."""

    cli: CommandLine
    first: Outcome
    refused: Outcome
    again: Outcome


@pytest.fixture(scope="module")
def story(new_platform: Callable[..., Settings]) -> Story:
    cli = CommandLine(new_platform())
    data = ("--data", "synthetic:6000")
    first = cli.invoke(*RUN, *data)
    refused = cli.invoke(*WORSE, *data, GATE_MAX_LT30_ECE="0.0001", **STRICT)
    again = cli.invoke(*RUN, *data)
    for outcome in (first, refused, again):
        assert outcome.code == 0, outcome.stderr
    return Story(cli, first, refused, again)


def versions(story: Story) -> dict[str, dict[str, str]]:
    client = MlflowClient(story.cli.settings.mlflow_url)
    found = client.search_model_versions(f"name = '{story.cli.settings.model_name}'")
    return {str(version.version): client.get_model_version(version.name, version.version).tags for version in found}


def log(story: Story) -> list[tuple[str | None, str, str, list[str]]]:
    query = "SELECT from_version, to_version, decision, reasons FROM promotions ORDER BY id"
    with psycopg.connect(story.cli.services.platform_url.get_secret_value()) as connection:
        return connection.execute(query).fetchall()


def test_with_nothing_in_production_the_floors_alone_apply(story: Story) -> None:
    assert story.first.summary["decision"] == "published"
    assert log(story)[0][:3] == (None, "1", "published")


def test_a_worse_model_is_refused_as_a_normal_outcome(story: Story) -> None:
    summary = story.refused.summary
    assert summary["decision"] == "refused"
    assert any(reason.startswith("F1 against production: -") for reason in summary["reasons"])
    assert summary["registered_version"] == "2"


def test_the_reasons_are_in_the_log_and_at_the_version(story: Story) -> None:
    before, version, decision, reasons = log(story)[1]
    assert (before, version, decision) == ("1", "2", "refused")
    assert reasons == story.refused.summary["reasons"]
    tags = versions(story)["2"]
    assert tags["decision"] == "refused"
    assert tags["reasons"] == "; ".join(reasons)
    client = MlflowClient(story.cli.settings.mlflow_url)
    run = client.get_run(story.refused.summary["best"]["run_id"])
    assert run.data.tags["decision"] == "refused"


def test_an_equal_model_passes(story: Story) -> None:
    """Not inferior is enough: a later model of as good figures knows later data."""
    assert story.again.summary["decision"] == "published"
    assert log(story)[2][:3] == ("1", "3", "published")
    assert production(story.cli.services, story.cli.settings.model_name) == "3"


def test_an_experiment_is_compared_on_rows_that_production_was_not_trained_on(story: Story) -> None:
    outcome = story.cli.invoke(*RUN, "--data", "synthetic:6000", "--seed", "5", "--split", "encounter")
    assert outcome.code == 0, outcome.stderr
    # 15 % of the rows are its validation; of those 15 % were the champion's validation and 15 % its test.
    assert outcome.summary["decision"] == "refused"
    assert any("validation rows were not in the training set" in reason for reason in outcome.summary["reasons"])


def test_promotion_and_rollback_by_hand(story: Story) -> None:
    cli = story.cli
    name = cli.settings.model_name
    before = production(cli.services, name)
    moved = cli.invoke("promote", "2", "--reason", "the board wants it")
    assert moved.code == 0
    assert f"from version {before} to version 2" in moved.stdout
    assert production(cli.services, name) == "2"
    assert log(story)[-1] == (before, "2", "promoted", ["the board wants it"])
    assert cli.invoke("rollback").code == 0
    assert production(cli.services, name) == before
    assert log(story)[-1] == ("2", before, "rolled back", ["by hand"])
    assert cli.invoke("rollback").code == 0
    assert production(cli.services, name) == "1"
    assert cli.invoke("promote", str(before)).code == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("promote", "99"), "has no version 99; there are: "),
        (("promote", "first"), "has no version first"),
        (("promote", "3"), "Version 3 is in production already"),
    ],
)
def test_a_move_that_makes_no_sense_changes_nothing(story: Story, arguments: tuple[str, ...], told: str) -> None:
    if production(story.cli.services, story.cli.settings.model_name) != "3":
        story.cli.invoke("promote", "3")
    before = look(story.cli.services, story.cli.settings.model_name)
    outcome = story.cli.invoke(*arguments)
    assert outcome.code == 2
    assert told in outcome.complaint
    assert look(story.cli.services, story.cli.settings.model_name) == before


def test_nothing_can_be_rolled_back_where_nothing_is(new_platform: Callable[..., Settings]) -> None:
    outcome = CommandLine(new_platform()).invoke("rollback")
    assert outcome.code == 2
    assert "nothing to roll back" in outcome.complaint


def test_a_score_too_good_to_be_true_stops(new_platform: Callable[..., Settings]) -> None:
    cli = CommandLine(new_platform())
    outcome = cli.invoke(*WORSE, "--data", "synthetic:3000", LEAK_F1="0.2")
    assert outcome.code == 2
    assert "Too good to be true: val_f1_score is 0." in outcome.complaint
    assert "READMISSION_LEAK_F1" in outcome.complaint
    assert look(cli.services, cli.settings.model_name).production is None
