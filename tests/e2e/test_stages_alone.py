"""Each stage alone, one after the other, does what the whole run does."""

from collections.abc import Callable

import pytest
from mlflow import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from command_line import CommandLine, Outcome, World, build_schemas, look
from readmission.settings import Settings

OPTIONS = ("--data", "synthetic:3000", "--batches", "2", "--models", "decision_tree,gradient_boosting")
LATER = ("split", "store", "clean", "plan", "train", "select", "publish")


@pytest.fixture(scope="module")
def whole(new_platform: Callable[..., Settings]) -> tuple[Settings, Outcome]:
    platform = new_platform()
    outcome = CommandLine(platform).invoke("pipeline", "run", *OPTIONS, "--no-report", "--json")
    assert outcome.code == 0, outcome.stderr
    return platform, outcome


@pytest.fixture(scope="module")
def alone(new_platform: Callable[..., Settings]) -> tuple[Settings, dict[str, Outcome]]:
    platform = new_platform()
    cli = CommandLine(platform)
    outcomes = {"download": cli.invoke("pipeline", "download", *OPTIONS, "--json")}
    for stage in LATER:
        outcomes[stage] = cli.invoke("pipeline", stage, "--json")
    return platform, outcomes


def contents(platform: Settings) -> World:
    return look(CommandLine(platform).services, platform.model_name)


def test_every_stage_succeeds(alone: tuple[Settings, dict[str, Outcome]]) -> None:
    _, outcomes = alone
    assert {stage: outcome.code for stage, outcome in outcomes.items()} == dict.fromkeys(("download", *LATER), 0)
    assert all(outcome.summary for outcome in outcomes.values())


def test_tables_are_the_same(whole: tuple[Settings, Outcome], alone: tuple[Settings, dict[str, Outcome]]) -> None:
    def without_memory(world: World) -> dict[str, tuple[int, str]]:
        return {name: content for name, content in world.tables.items() if name != "raw.split_memory"}

    assert without_memory(contents(whole[0])) == without_memory(contents(alone[0]))
    assert build_schemas(CommandLine(alone[0]).services) == []


def test_the_winner_is_the_same(whole: tuple[Settings, Outcome], alone: tuple[Settings, dict[str, Outcome]]) -> None:
    best = whole[1].summary["best"]
    selected = alone[1]["select"].summary
    assert selected["best"]["model_type"] == best["model_type"]
    assert selected["best"]["cumulative_idx"] == best["cumulative_idx"]
    for name in ("val_f1_score", "val_roc_auc", "test_f1_score"):
        assert selected["metrics"][name] == best[name]


def test_it_is_published_with_charts(alone: tuple[Settings, dict[str, Outcome]]) -> None:
    platform, outcomes = alone
    assert outcomes["publish"].summary["version"] == contents(platform).production == "1"
    client = MlflowClient(platform.mlflow_url)
    parent = client.get_run(outcomes["plan"].summary["parent_run_id"])
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["registered_version"] == "1"
    assert len(client.list_artifacts(parent.info.run_id, "charts")) == 9


def test_the_report_can_be_left_out(whole: tuple[Settings, Outcome]) -> None:
    platform, first = whole
    client = MlflowClient(platform.mlflow_url)
    tags = client.get_run(first.summary["best"]["run_id"]).data.tags
    parent = client.get_run(tags[MLFLOW_PARENT_RUN_ID])
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["registered_version"] == "1"
    assert client.list_artifacts(parent.info.run_id, "charts") == []
    refused = CommandLine(platform).invoke("model", "card")
    assert refused.code == 2
    assert "has no card: its run left it out (--no-report)" in refused.complaint


def test_what_stages_answer_fits_together(alone: tuple[Settings, dict[str, Outcome]]) -> None:
    answers = {stage: outcome.summary for stage, outcome in alone[1].items()}
    assert answers["download"]["rows"] == sum(answers["split"]["sizes"].values()) == 3000
    assert answers["store"]["views"] == ["train_cumulative_0", "train_cumulative_1"]
    assert sum(answers["store"]["rows"].values()) == 3000
    assert answers["clean"]["rows"] == {
        "train_clean": answers["split"]["sizes"]["train"],
        "validation_clean": answers["split"]["sizes"]["validation"],
        "test_clean": answers["split"]["sizes"]["test"],
    }
    assert [config["view"] for config in answers["plan"]["configs"]] == answers["store"]["views"]
    assert len(answers["train"]["models"]) == 4


def test_a_stage_may_run_again(whole: tuple[Settings, Outcome]) -> None:
    """Publishing the same execution again makes no second version."""
    platform, first = whole
    execution = first.summary["execution"]
    again = CommandLine(platform).invoke("pipeline", "publish", "--execution", execution, "--json")
    assert again.code == 0, again.stderr
    assert again.summary["version"] == "1"


def test_a_later_run_remembers_every_patient(whole: tuple[Settings, Outcome]) -> None:
    platform, _ = whole
    cli = CommandLine(platform)
    before = contents(platform).tables["raw.split_memory"]
    assert cli.invoke("pipeline", "download", *OPTIONS, "--json").code == 0
    split = cli.invoke("pipeline", "split", "--json").summary
    assert split["remembered"] == before[0]
    fresh = cli.invoke("pipeline", "download", *OPTIONS, "--seed", "7", "--json")
    assert fresh.code == 0
    assert cli.invoke("pipeline", "split", "--json").summary["remembered"] == 0


def test_options_reach_the_split(new_platform: Callable[..., Settings]) -> None:
    cli = CommandLine(new_platform())
    assert (
        cli.invoke(
            "pipeline", "download", "--data", "synthetic:3000", "--split", "encounter", "--batch-size", "600"
        ).code
        == 0
    )
    split = cli.invoke("pipeline", "split", "--json").summary
    assert split["grouping"] == "encounter"
    assert split["batches"] == 4
    assert split["sizes"]["train"] == pytest.approx(2100, abs=15)


def test_a_stage_whose_result_was_lost_may_run_again(alone: tuple[Settings, dict[str, Outcome]]) -> None:
    """As after a kill between the swap and the note of it."""
    platform, outcomes = alone
    before = contents(platform).tables
    again = CommandLine(platform).invoke("pipeline", "clean", "--json")
    assert again.code == 0, again.stderr
    assert again.summary["rows"] == outcomes["clean"].summary["rows"]
    assert contents(platform).tables == before


def test_a_build_that_is_gone_is_one_line(alone: tuple[Settings, dict[str, Outcome]]) -> None:
    refused = CommandLine(alone[0]).invoke("pipeline", "store")
    assert refused.code == 2
    assert "from `split` on" in refused.complaint


def test_no_model_is_made_of_tables_of_another_execution(new_platform: Callable[..., Settings]) -> None:
    cli = CommandLine(new_platform())
    assert cli.invoke("pipeline", "download", *OPTIONS, "--json").code == 0
    refused = cli.invoke("pipeline", "plan")
    assert refused.code == 2
    assert "do not exist" in refused.complaint
    for stage in ("split", "store", "clean", "plan"):
        assert cli.invoke("pipeline", stage).code == 0
    older = cli.invoke("pipeline", "plan", "--json")
    assert older.code == 0
    assert cli.invoke("pipeline", "download", *OPTIONS, "--seed", "7").code == 0
    refused = cli.invoke("pipeline", "plan")
    assert refused.code == 2
    assert "run its stages split, store and clean first" in refused.complaint
