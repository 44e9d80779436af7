"""Fitting on a small set: figures, determinism, and that nothing leaks from validation or identifiers into a model."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier

from readmission.evaluation.metrics import decide, score
from readmission.features.encoder import RateFeature
from readmission.features.fit import encode_columns
from readmission.results import CHALLENGERS, MODEL_TYPES, Aim
from readmission.schema import IDENTIFIERS, LABELS, RECORD_COLUMNS
from readmission.training.fitting import Fit, fit, fit_rows, predict_out_of_fold
from readmission.training.folds import FOLDS
from readmission.training.linear import linear_terms
from readmission.training.model import FittedModel, predict_probabilities
from readmission.training.preparation import count_draws
from training_sets import SmallSet, clean, make_set

NAMES = ("accuracy", "precision", "recall", "f1_score", "f1_macro", "roc_auc", "roc_auc_macro")


def figures(fitted: Fit) -> dict[str, float]:
    return {name: value for name, value in fitted.metrics.items() if not name.endswith("_seconds")}


@pytest.mark.parametrize("model_type", [*MODEL_TYPES, *CHALLENGERS])
def test_figures_are_those_of_the_fitted_model(fits: dict[str, Fit], small_set: SmallSet, model_type: str) -> None:
    fitted = fits[model_type]
    for prefix, arrays in (("train_", small_set.train), ("val_", small_set.validation)):
        probabilities = fitted.model.predict_matrix(arrays.matrix)
        expected = score(arrays.labels, probabilities, fitted.model.decision)
        assert {name: fitted.metrics[prefix + name] for name in expected} == expected
        assert set(NAMES) <= set(expected)
    assert fitted.metrics["fit_seconds"] > 0


@pytest.mark.parametrize("model_type", [*MODEL_TYPES, *CHALLENGERS])
def test_something_is_learned(fits: dict[str, Fit], model_type: str) -> None:
    assert fits[model_type].metrics["train_roc_auc"] > 0.6
    assert fits[model_type].metrics["val_roc_auc"] > 0.52


@pytest.mark.parametrize("model_type", [*MODEL_TYPES, *CHALLENGERS])
def test_raw_records_get_the_answers_of_the_matrix(fits: dict[str, Fit], small_set: SmallSet, model_type: str) -> None:
    fitted = fits[model_type].model
    expected = fitted.predict_matrix(small_set.validation.matrix)
    np.testing.assert_array_equal(fitted.predict_proba(small_set.raw_validation), expected)
    answers = fitted.predict(small_set.raw_validation)
    assert list(answers.columns) == ["readmission_prediction", *LABELS]
    assert answers["readmission_prediction"].tolist() == [LABELS[place] for place in decide(expected, fitted.decision)]
    np.testing.assert_allclose(answers[list(LABELS)].sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("model_type", [*MODEL_TYPES, *CHALLENGERS])
def test_identifiers_change_no_answer(fits: dict[str, Fit], small_set: SmallSet, model_type: str) -> None:
    fitted = fits[model_type].model
    other = small_set.raw_validation.copy()
    for name in IDENTIFIERS:
        other[name] = other[name].to_numpy()[::-1]
    np.testing.assert_array_equal(fitted.predict_proba(other), fitted.predict_proba(small_set.raw_validation))
    assert not set(IDENTIFIERS) & set(fitted.encoder.names)


def test_identifiers_change_no_training(fits: dict[str, Fit], small_set: SmallSet, tmp_path: Path) -> None:
    other = small_set.raw_train.copy()
    other["encounter_id"] = [str(number) for number in range(len(other))]
    # Other numbers in the same order: patients stay together, and in their folds.
    order = sorted(set(other["patient_nbr"]), key=int)
    other["patient_nbr"] = other["patient_nbr"].map({name: str(7 * order.index(name)) for name in order})
    again = make_set(other, small_set.raw_validation, tmp_path / "other")
    assert figures(fit(again.prepared, "decision_tree", Aim())) == figures(fits["decision_tree"])


@pytest.mark.parametrize("model_type", [*MODEL_TYPES, *CHALLENGERS])
def test_the_same_data_gives_the_same_model(fits: dict[str, Fit], small_set: SmallSet, model_type: str) -> None:
    again = fit(small_set.prepared, model_type, Aim())
    assert figures(again) == figures(fits[model_type])


@pytest.mark.parametrize("model_type", ["random_forest", "gradient_boosting"])
def test_threads_do_not_change_the_model(fits: dict[str, Fit], small_set: SmallSet, model_type: str) -> None:
    again = fit(small_set.prepared, model_type, Aim(), threads=2)
    assert figures(again) == pytest.approx(figures(fits[model_type]), abs=1e-12)


def test_validation_rows_shape_neither_encoder_nor_model(
    fits: dict[str, Fit], small_set: SmallSet, tmp_path: Path
) -> None:
    strange = small_set.raw_validation.copy()
    strange["medical_specialty"] = "Neverheardof"
    strange["num_lab_procedures"] = "999"
    other = make_set(small_set.raw_train, strange, tmp_path / "strange")
    assert other.encoder == small_set.encoder
    fitted = fit(other.prepared, "logistic_regression", Aim())
    known = fits["logistic_regression"].model
    for name, value in fitted.metrics.items():
        if name.startswith("train_"):
            assert value == fits["logistic_regression"].metrics[name]
    np.testing.assert_array_equal(
        fitted.model.predict_matrix(small_set.validation.matrix), known.predict_matrix(small_set.validation.matrix)
    )


def test_scaling_is_that_of_the_training_rows(fits: dict[str, Fit], small_set: SmallSet) -> None:
    columns = fits["logistic_regression"].model.estimator.named_steps["columns"]
    _, scaler, places = columns.transformers_[1]
    np.testing.assert_allclose(scaler.mean_, small_set.train.matrix[:, places].mean(axis=0, dtype=np.float64))


def test_linear_terms_give_the_answers_of_the_pipeline(fits: dict[str, Fit], small_set: SmallSet) -> None:
    pipeline = fits["logistic_regression"].model.estimator
    terms, matrix = linear_terms(pipeline), small_set.validation.matrix
    logits = (
        (matrix[:, terms.category_columns] == terms.levels) @ terms.level_weights
        + matrix[:, terms.number_columns].astype(np.float64) @ terms.number_weights
        + terms.intercept
    )
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(
        odds / odds.sum(axis=1, keepdims=True), pipeline.predict_proba(matrix), rtol=0, atol=1e-6
    )


def test_a_class_that_training_never_saw_gets_no_probability(small_set: SmallSet, tmp_path: Path) -> None:
    known = small_set.raw_train[small_set.raw_train["readmitted"] != ">30"].reset_index(drop=True)
    made = make_set(known, small_set.raw_validation, tmp_path / "two")
    fitted = fit(made.prepared, "decision_tree", Aim()).model
    probabilities = predict_probabilities(fitted.estimator, made.validation.matrix)
    assert probabilities.shape == (len(small_set.raw_validation), 3)
    assert not probabilities[:, LABELS.index(">30")].any()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)


def test_absent_and_empty_columns_count_as_missing(fits: dict[str, Fit], small_set: SmallSet) -> None:
    fitted = fits["gradient_boosting"].model
    few = small_set.raw_validation[["age", "number_inpatient", "time_in_hospital"]].head(20)
    full = pd.DataFrame({column.name: few.get(column.name, "?") for column in RECORD_COLUMNS}, index=few.index)
    np.testing.assert_array_equal(fitted.predict_proba(few), fitted.predict_proba(full))
    empty = full.astype(object).where(full != "?", None)
    np.testing.assert_array_equal(fitted.predict_proba(empty), fitted.predict_proba(full))


def test_numbers_may_be_numbers(fits: dict[str, Fit], small_set: SmallSet) -> None:
    fitted = fits["random_forest"].model
    texts = small_set.raw_validation.head(30)
    typed = texts.assign(
        **{name: texts[name].astype(int) for name in ("number_inpatient", "admission_type_id", "num_medications")}
    )
    np.testing.assert_array_equal(fitted.predict_proba(typed), fitted.predict_proba(texts))


def test_a_model_carries_all_that_it_needs(fits: dict[str, Fit], small_set: SmallSet) -> None:
    original = fits["decision_tree"].model
    copy = FittedModel(original.encoder_json, original.estimator, original.decision_json)
    matrix = encode_columns(copy.encoder, clean(small_set.raw_validation))
    np.testing.assert_array_equal(copy.predict_matrix(matrix), original.predict_proba(small_set.raw_validation))


class Recorder:
    """Stands for an estimator; remembers what it was given."""

    def __init__(self) -> None:
        self.rows = 0

    def fit(self, matrix: np.ndarray, labels: np.ndarray) -> "Recorder":
        assert len(matrix) == len(labels)
        self.rows, self.matrix, self.labels = len(matrix), matrix, labels
        return self

    def predict_proba(self, matrix: np.ndarray) -> np.ndarray:
        return np.full((len(matrix), 3), 1 / 3)


class RecorderOfTrees(Recorder, LGBMClassifier):  # type: ignore[misc]  # LightGBM's has no types
    """The same, of the kind that sees rows under several draws."""

    subsample = 1 / 3


class RecorderOfWholeTrees(RecorderOfTrees):
    """The same, whose trees take all rows."""

    subsample = 1.0


def test_a_boosted_tree_sees_every_row_twice_under_different_draws(small_set: SmallSet) -> None:
    n_rows = len(small_set.train.labels)
    assert fit_rows(RecorderOfTrees(), small_set.train).rows == 6 * n_rows
    assert fit_rows(RecorderOfWholeTrees(), small_set.train).rows == 2 * n_rows
    assert fit_rows(Recorder(), small_set.train).rows == n_rows
    chosen = np.arange(n_rows) < 100
    assert fit_rows(RecorderOfTrees(), small_set.train, chosen).rows == 600


def test_only_the_rates_are_drawn_again(small_set: SmallSet) -> None:
    train = small_set.train
    assert train.redrawn is not None
    rates = [isinstance(feature, RateFeature) for feature in small_set.encoder.features]
    assert any(rates)
    chosen = np.arange(len(train.labels)) % 3 == 0
    shown = fit_rows(RecorderOfTrees(), train, chosen)
    first, *others = np.split(shown.matrix, 6)
    np.testing.assert_array_equal(first, train.matrix[chosen])
    for number, other in enumerate(others):
        np.testing.assert_array_equal(other[:, ~np.array(rates)], first[:, ~np.array(rates)])
        np.testing.assert_array_equal(other[:, rates], train.redrawn.rates[number][chosen])
        assert (other[:, rates] != first[:, rates]).any()
    np.testing.assert_array_equal(shown.labels, np.tile(train.labels[chosen], 6))
    assert small_set.validation.redrawn is None


def test_large_sets_are_drawn_less_often() -> None:
    assert [count_draws(rows) for rows in (1, 71_000, 100_000, 200_000, 1_000_000)] == [6, 6, 5, 2, 2]


def test_every_row_is_answered_out_of_fold_unless_fewer_are_enough(small_set: SmallSet) -> None:
    train = small_set.train
    made: list[Recorder] = []

    def make() -> Recorder:
        made.append(Recorder())
        return made[-1]

    truth, answers = predict_out_of_fold(train, make)
    assert sorted(truth) == sorted(train.labels)
    assert answers.shape == (len(train.labels), len(LABELS))
    assert sum(recorder.rows for recorder in made) == (FOLDS - 1) * len(train.labels)
    made.clear()
    truth, answers = predict_out_of_fold(train, make, enough=100)
    assert len(made) == 1
    assert len(truth) == len(answers) == len(train.labels) - made[0].rows >= 100
