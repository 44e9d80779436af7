"""The stages as functions, as another host calls them: one cumulative set at a time, nothing but tables in between."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import psycopg
import pytest

from command_line import mlflow_may_warn
from readmission.context import Context, Progress, new_execution
from readmission.dataset.source_file import Dataset
from readmission.errors import BadInputError
from readmission.orchestration import stages as pipeline
from readmission.results import CHALLENGERS, MODEL_TYPES, Options, Plan, SplitResult, TrainedModel
from readmission.services import resolve_services
from readmission.settings import Settings
from readmission.warehouse.metadata import store as platform_db

OPTIONS = Options(data="synthetic:3000", batches=2, models=("decision_tree", "decision_tree"))


@dataclass(frozen=True)
class Trained:
    """An execution up to its trained models."""

    context: Context
    dataset: Dataset
    split: SplitResult
    plan: Plan
    models: list[TrainedModel]
    told: list[Progress]


@pytest.fixture(scope="module")
def trained(new_platform: Callable[..., Settings]) -> Trained:
    settings = new_platform()
    told: list[Progress] = []
    context = Context(settings, resolve_services(settings), new_execution(), told.append)
    platform_db.create_tables(context.services.platform_url)
    dataset = pipeline.download(context, OPTIONS)
    split = pipeline.split(context, dataset, OPTIONS)
    pipeline.store_batches(context, dataset)
    pipeline.store_views(context, split.batches)
    pipeline.store_holdout(context, dataset)
    pipeline.clean(context, split.batches, OPTIONS)
    plan = pipeline.plan_training(context, dataset, OPTIONS)
    with mlflow_may_warn():
        models = [model for config in plan.configs for model in pipeline.train(context, dataset, plan, config)]
    return Trained(context, dataset, split, plan, models, told)


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
    assert not any(trained.context.scratch.rglob("*.npy"))


def test_the_first_of_the_ranking_wins(trained: Trained) -> None:
    ranking = pipeline.aggregate(reversed(trained.models))
    assert pipeline.select(ranking) == max(
        trained.models, key=lambda model: (model.metrics["val_f1_score"], model.metrics["val_roc_auc"])
    )


def test_the_reloaded_winner_gets_the_figures_of_training(trained: Trained) -> None:
    ranking = pipeline.aggregate(trained.models)
    selection = pipeline.evaluate(trained.context, ranking, ranking[0])
    for name, value in selection.metrics.items():
        if name.startswith("val_"):
            assert value == pytest.approx(ranking[0].metrics[name])
    measured = {name.removeprefix("val_") for name in ranking[0].metrics if name.startswith("val_")}
    assert set(selection.metrics) == {f"{part}_{name}" for part in ("val", "test") for name in measured}


def test_progress_is_reported(trained: Trained) -> None:
    assert {"generate", "verify"} <= {step.what for step in trained.told}


def test_where_the_data_came_from_is_said() -> None:
    dataset = Dataset(source="uci:296", kind="real", sha256="0" * 64, rows=1, key="data/0.csv")
    assert pipeline.data_tags(dataset) == {"data_source": "uci:296", "data_kind": "real", "data_sha256": "0" * 64}
    stand_in = dataset.model_copy(update={"kind": "synthetic", "fallback": "no network"})
    assert pipeline.data_tags(stand_in)["data_fallback"] == "no network"


def test_too_few_rows_are_refused(trained: Trained) -> None:
    context = Context(trained.context.settings, trained.context.services, new_execution())
    options = Options(data="synthetic:4")
    with pytest.raises(BadInputError, match=r"^Too few rows: the \w+ part got none with the outcome"):
        pipeline.split(context, pipeline.download(context, options), options)


def test_batches_that_are_too_small_are_refused(trained: Trained) -> None:
    context = Context(trained.context.settings, trained.context.services, new_execution())
    options = Options(data="synthetic:3000", batch_size=20)
    with pytest.raises(BadInputError, match=r"^Batches too small: batch_0 has \d+ rows, \d of them .* --batch-size$"):
        pipeline.split(context, trained.dataset, options)
    pipeline.require_current(trained.context)
