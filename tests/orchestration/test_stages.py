"""The functions of the steps, as another host calls them: one cumulative set at a time, only tables in between."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import psycopg
import pytest

from command_line import mlflow_may_warn
from readmission.context import Context, Progress, new_execution
from readmission.dataset.source_file import Dataset
from readmission.errors import BadInputError, ReadmissionError
from readmission.orchestration import data_stages, model_stages
from readmission.orchestration.executors import one_by_one
from readmission.orchestration.tables_in_use import require_tables
from readmission.registry.client import make_client
from readmission.results import CHALLENGERS, MODEL_TYPES, Models, Options, Plan, Ranking, SplitResult, TrainedModel
from readmission.services import resolve_services
from readmission.settings import Settings
from readmission.warehouse.metadata.migrate import migrate

OPTIONS = Options(data="synthetic:3000", batches=2, models=("decision_tree", "decision_tree"))


@dataclass(frozen=True)
class Trained:
    """An execution up to its trained models."""

    context: Context
    dataset: Dataset
    split: SplitResult
    plan: Plan
    models: list[TrainedModel]
    reported: list[Progress]


@pytest.fixture(scope="module")
def trained(new_platform: Callable[..., Settings]) -> Trained:
    settings = new_platform()
    reported: list[Progress] = []
    context = Context(settings, resolve_services(settings), new_execution(), reported.append)
    migrate(context.services.platform_url)
    dataset = data_stages.download(context, OPTIONS)
    split = data_stages.split(context, dataset, OPTIONS)
    data_stages.store_batches(context, dataset, split)
    data_stages.store_views(context, split)
    data_stages.store_holdout(context, dataset)
    data_stages.clean(context, split, OPTIONS)
    plan = model_stages.plan(context, dataset, OPTIONS)
    models: list[TrainedModel] = []
    with mlflow_may_warn():
        for config in plan.configs:
            (one,) = model_stages.train_cumulative(context, dataset, plan, [config], one_by_one(2)).values()
            models.extend(one.models)
    return Trained(context, dataset, split, plan, models, reported)


def test_parts_have_their_shares(trained: Trained) -> None:
    sizes = trained.split.sizes
    assert sum(sizes.values()) == 3000
    for part, share in (("train", 0.70), ("validation", 0.15), ("test", 0.15)):
        assert sizes[part] / 3000 == pytest.approx(share, abs=0.005)


def test_class_shares_are_those_of_the_whole(trained: Trained) -> None:
    with psycopg.connect(trained.context.services.clean_url.get_secret_value()) as connection:
        shares = [
            np.array(connection.execute(
                f"SELECT avg((readmitted = 'NO')::int)::float8, avg((readmitted = '>30')::int)::float8 FROM {table}"
            ).fetchone())
            for table in ("train_clean", "validation_clean", "test_clean")
        ]  # fmt: skip
    assert np.abs(np.array(shares) - np.mean(shares, axis=0)).max() < 0.01


def test_the_plan_lists_what_is_stored(trained: Trained) -> None:
    first, second = trained.plan.configs
    assert (first.cumulative_idx, first.view, second.cumulative_idx, second.view) == (
        0, "train_cumulative_0", 1, "train_cumulative_1",
    )  # fmt: skip
    assert second.rows == trained.split.sizes["train"]
    assert abs(2 * first.rows - second.rows) <= 1


def test_a_type_named_twice_is_trained_once(trained: Trained) -> None:
    assert [(model.model_type, model.cumulative_idx) for model in trained.models] == [
        ("decision_tree", 0), ("decision_tree", 1),
    ]  # fmt: skip


def test_no_type_means_the_four() -> None:
    assert Options().model_types == MODEL_TYPES
    assert Options(models=("random_forest",)).model_types == ("random_forest",)
    assert Options(challengers=CHALLENGERS).model_types == (*MODEL_TYPES, *CHALLENGERS)


def test_arrays_are_removed_after_training(trained: Trained) -> None:
    assert list(trained.context.scratch.glob("*")) == []


def test_what_is_trained_on_one_set_is_reported(trained: Trained) -> None:
    lines = [(step.what, step.done, step.total) for step in trained.reported if step.what.startswith("trained ")]
    assert lines == [(f"trained train_cumulative_{number} decision_tree", 1, 1) for number in (0, 1)]


def test_a_set_that_was_not_trained_is_named(trained: Trained, caplog: pytest.LogCaptureFixture) -> None:
    (last,) = (model for model in trained.models if model.cumulative_idx == 1)
    ranking = model_stages.aggregate(trained.context, trained.plan, (Models(models=(last,)),))
    assert ranking == Ranking(models=(last,), missing=("train_cumulative_0",))
    assert "left out: train_cumulative_0" in caplog.text
    with pytest.raises(ReadmissionError, match="No cumulative set was trained"):
        model_stages.aggregate(trained.context, trained.plan, ())


def ranked(trained: Trained, models: Iterable[TrainedModel]) -> Ranking:
    """Their ranking, each as a set of its own."""
    return model_stages.aggregate(trained.context, trained.plan, [Models(models=(model,)) for model in models])


def test_the_first_of_the_ranking_wins(trained: Trained) -> None:
    ranking = ranked(trained, reversed(trained.models))
    assert ranking.missing == ()
    assert model_stages.select(trained.context, ranking) == max(
        trained.models, key=lambda model: (model.metrics["val_f1_score"], model.metrics["val_roc_auc"])
    )


def test_the_reloaded_winner_gets_the_figures_of_training(trained: Trained) -> None:
    ranking = ranked(trained, trained.models)
    selection = model_stages.evaluate(trained.context, ranking, ranking.models[0])
    for name, value in selection.metrics.items():
        if name.startswith("val_"):
            assert value == pytest.approx(ranking.models[0].metrics[name])
    measured = {name.removeprefix("val_") for name in ranking.models[0].metrics if name.startswith("val_")}
    assert set(selection.metrics) == {f"{part}_{name}" for part in ("val", "test") for name in measured}


def test_publishing_ends_the_run_of_the_execution_and_the_report_can_be_left_out(trained: Trained) -> None:
    ranking = ranked(trained, trained.models)
    client = make_client(trained.context.services)

    def run_and_charts() -> tuple[str, int]:
        run_id = trained.plan.parent_run_id
        return client.get_run(run_id).info.status, len(client.list_artifacts(run_id, "charts"))

    with mlflow_may_warn():
        selection = model_stages.evaluate(trained.context, ranking, ranking.models[0])
        assert run_and_charts() == ("RUNNING", 0)
        made = model_stages.publish(trained.context, trained.dataset, trained.split, trained.plan, selection)
    assert made.model == selection.best
    tags = client.get_run(trained.plan.parent_run_id).data.tags
    assert (tags["registered_version"], tags["decision"]) == ("1", made.decision)
    assert made.version == "1"
    assert tags["reasons"] == "; ".join(made.reasons)
    for no_report, charts in ((True, 0), (False, 9)):
        options = OPTIONS.model_copy(update={"no_report": no_report})
        model_stages.report(trained.context, trained.dataset, trained.plan, selection, made, options)
        assert run_and_charts() == ("FINISHED", charts)


def test_progress_is_reported(trained: Trained) -> None:
    assert {"generate", "verify"} <= {step.what for step in trained.reported}


def test_where_the_data_came_from_is_said() -> None:
    dataset = Dataset(source="uci:296", kind="real", sha256="0" * 64, rows=1, key="data/0.csv")
    assert model_stages.data_tags(dataset) == {"data_source": "uci:296", "data_kind": "real", "data_sha256": "0" * 64}
    stand_in = dataset.model_copy(update={"kind": "synthetic", "fallback": "no network"})
    assert model_stages.data_tags(stand_in)["data_fallback"] == "no network"


def test_too_few_rows_are_refused(trained: Trained) -> None:
    context = Context(trained.context.settings, trained.context.services, new_execution())
    options = Options(data="synthetic:4")
    with pytest.raises(BadInputError, match=r"^Too few rows: the \w+ split has none with the outcome"):
        data_stages.split(context, data_stages.download(context, options), options)


def test_batches_that_are_too_small_are_refused(trained: Trained) -> None:
    context = Context(trained.context.settings, trained.context.services, new_execution())
    options = Options(data="synthetic:3000", batch_size=20)
    with pytest.raises(BadInputError, match=r"^Batches too small: batch_0 has \d+ rows, \d of them .* --batch-size$"):
        data_stages.split(context, trained.dataset, options)
    require_tables(trained.context)
