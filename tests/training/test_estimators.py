import pytest
from lightgbm import LGBMClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.tree import DecisionTreeClassifier

from readmission.results import CHALLENGERS, MODEL_TYPES
from readmission.training.estimators import RELATIVE_COST, make_estimator, shown_params
from training_sets import SmallSet

REQUESTED = {
    "logistic_regression": (LogisticRegression, {"max_iter": 1000}),
    "decision_tree": (DecisionTreeClassifier, {"max_depth": 10}),
    "random_forest": (RandomForestClassifier, {"n_estimators": 100, "max_depth": 10}),
    "gradient_boosting": (LGBMClassifier, {"n_estimators": 100, "max_depth": 5}),
}


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_parameters_are_those_of_the_request(small_set: SmallSet, model_type: str) -> None:
    kind, parameters = REQUESTED[model_type]
    estimator = make_estimator(model_type, small_set.encoder)
    last = estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator
    assert type(last) is kind
    assert {name: last.get_params()[name] for name in parameters} == parameters
    assert last.get_params()["random_state"] == 42


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_the_estimators_own_parameters_are_shown(small_set: SmallSet, model_type: str) -> None:
    kind, parameters = REQUESTED[model_type]
    shown = shown_params(make_estimator(model_type, small_set.encoder))
    assert {name: shown[name] for name in parameters} == {name: str(value) for name, value in parameters.items()}
    assert shown["random_state"] == "42"
    assert set(shown) == set(kind(**parameters).get_params(deep=False)) | set(shown)


@pytest.mark.parametrize("model_type", ["random_forest", "gradient_boosting"])
def test_threads_are_what_was_given(small_set: SmallSet, model_type: str) -> None:
    assert make_estimator(model_type, small_set.encoder, threads=3).n_jobs == 3


def test_only_logistic_regression_is_scaled(small_set: SmallSet) -> None:
    pipelines = [name for name in MODEL_TYPES if isinstance(make_estimator(name, small_set.encoder), Pipeline)]
    assert pipelines == ["logistic_regression"]


def test_each_type_has_a_cost() -> None:
    assert set(RELATIVE_COST) == {*MODEL_TYPES, *CHALLENGERS}
