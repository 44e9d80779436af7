import json
from typing import Any

import pytest
from pydantic import ValidationError

from readmission.results import MODEL_TYPES, Best, Options, Summary, TrainedModel

BEST = {
    "model_type": "decision_tree", "cumulative_idx": 1, "run_id": "r",
    "val_f1_score": 0.5, "val_roc_auc": 0.6, "test_f1_score": 0.4,
}  # fmt: skip


def test_defaults_are_those_of_the_request() -> None:
    options = Options()
    assert (options.batch_size, options.batches, options.split, options.seed) == (15_000, None, "patient", None)
    assert options.models == ()
    assert MODEL_TYPES == ("logistic_regression", "decision_tree", "random_forest", "gradient_boosting")


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch_size": 0},
        {"batches": -1},
        {"split": "hospital"},
        {"seed": -1},
        {"models": ["crystal_ball"]},
        {"speed": 9},
    ],
)
def test_wrong_options_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Options.model_validate(wrong)


def test_results_travel_as_json() -> None:
    summary = Summary(
        execution="e", data_source="synthetic:10", data_fallback="", batches=2, models=4, best=Best(**BEST),
        registered_version="3", decision="refused", reasons=("worse",), stages={"download": 0.1}, report_seconds=0.2,
        seconds=1.5,
    )  # fmt: skip
    assert Summary.model_validate(json.loads(summary.model_dump_json())) == summary
    assert json.loads(summary.model_dump_json())["best"] == BEST


def test_results_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Options().seed = 3  # type: ignore[misc]


def test_a_metric_that_is_not_a_number_has_no_place() -> None:
    with pytest.raises(ValidationError):
        TrainedModel(
            run_id="r", model_id="m", model_type="decision_tree", cumulative_idx=-1, rows=1, n_features=1,
            trained_at="2026-01-01T00:00:00Z", fit_seconds=0.1, metrics={"val_f1_score": "high"},
        )  # type: ignore[arg-type]  # fmt: skip
