"""What Airflow's tasks return: short forms of results, with the figures that people look for."""

from typing import Any

from readmission.orchestration.answers import answer
from readmission.results import Aim, Models, Plan, Publication, Ranking, Selection, SplitResult, TrainedModel
from readmission.results import TrainingConfig as Config

METRICS = {"val_f1_score": 0.5, "val_roc_auc": 0.6, "test_f1_score": 0.4}
SHORT = {"model_type": "decision_tree", "cumulative_idx": 3, "rows": 40, "run_id": "r", "val_f1_score": 0.5}


def model(**changes: Any) -> TrainedModel:
    found = TrainedModel(
        run_id="r",
        model_id="m",
        model_type="decision_tree",
        cumulative_idx=3,
        rows=40,
        n_features=2,
        fit_seconds=0.1,
        metrics=METRICS,
    )
    return found.model_copy(update=changes)


def test_a_small_result_is_returned_whole() -> None:
    split = SplitResult(sizes={"train": 3}, batches=1, grouping="patient", seed=42, remembered=0, assignment="patient")
    assert answer(split) == split.model_dump(mode="json")


def test_the_largest_set_comes_first() -> None:
    configs = tuple(Config(cumulative_idx=number, view=f"train_cumulative_{number}", rows=number) for number in (0, 1))
    plan = Plan(experiment_id="e", parent_run_id="p", configs=configs, model_types=(), aim=Aim())
    assert answer(plan) == [configs[1].model_dump(), configs[0].model_dump()]


def test_a_set_tells_the_score_of_each_type() -> None:
    found = answer(Models(models=(model(), model(model_type="random_forest", metrics={"val_f1_score": 0.7}))))
    assert found == {"view": "train_cumulative_3", "decision_tree": 0.5, "random_forest": 0.7}


def test_a_ranking_tells_the_best_and_what_is_missing() -> None:
    found = answer(Ranking(models=(model(), model(run_id="other")), missing=("train_cumulative_1",)))
    assert found == {"models": 2, "missing": ["train_cumulative_1"], "best": SHORT}


def test_a_selection_tells_the_score_on_both_parts() -> None:
    selection = Selection(ranking=(model(),), best=model(), metrics={**METRICS, "val_f1_score": 0.55})
    assert answer(selection) == {**SHORT, "val_f1_score": 0.55, "test_f1_score": 0.4}


def test_a_publication_tells_the_decision_and_the_model() -> None:
    made = Publication(
        version="2", previous="1", decision="refused", reasons=("worse",), parity_max_difference=0.0, model=model()
    )
    expected = {
        "version": "2", "previous": "1", "decision": "refused", "reasons": ["worse"], "parity_max_difference": 0.0,
        "f1_difference": None,
    }  # fmt: skip
    assert answer(made) == {**expected, **SHORT}
    assert answer(made.model_copy(update={"model": None})) == expected
