"""The decision rule: what it maximises, and that it changes no probability."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from readmission.evaluation.metrics import LT30, decide
from readmission.model_bundle.files import Decision
from readmission.results import Aim, Objective
from readmission.training.decision_rule import fit_decision

ROWS = 6_000
AVERAGE = {"weighted_f1": "weighted", "macro_f1": "macro"}


def calibrated(seed: int, rows: int = ROWS) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes drawn from probabilities with about the shares of the real file."""
    generator = np.random.default_rng(seed)
    probabilities = generator.dirichlet([5.4, 3.5, 1.1], rows)
    truth = (probabilities.cumsum(axis=1) > generator.random((rows, 1))).argmax(axis=1)
    return truth.astype(np.int8), probabilities


@pytest.mark.parametrize("objective", AVERAGE)
def test_no_weights_on_a_fine_grid_do_better(objective: Objective) -> None:
    truth, probabilities = calibrated(1)
    rule = fit_decision(truth, probabilities, Aim(objective=objective))
    average = AVERAGE[objective]
    reached = f1_score(truth, decide(probabilities, rule), average=average)
    grid = [
        f1_score(truth, (probabilities * [1, a, b]).argmax(axis=1), average=average)
        for a in np.linspace(0.8, 2.0, 13)
        for b in np.linspace(1.0, 5.0, 21)
    ]
    assert reached > max(grid) - 0.003
    assert reached > f1_score(truth, probabilities.argmax(axis=1), average=average)


@pytest.mark.parametrize("objective", AVERAGE)
def test_what_is_fitted_holds_for_other_rows(objective: Objective) -> None:
    rule = fit_decision(*calibrated(1), Aim(objective=objective))
    truth, probabilities = calibrated(2)
    average = AVERAGE[objective]
    gained = f1_score(truth, decide(probabilities, rule), average=average)
    assert gained > f1_score(truth, probabilities.argmax(axis=1), average=average) + 0.005


@pytest.mark.parametrize("rate", [0.02, 0.1, 0.3])
def test_alerts_are_as_many_as_asked_for_and_the_likeliest(rate: float) -> None:
    truth, probabilities = calibrated(3)
    rule = fit_decision(truth, probabilities, Aim(objective="lt30_recall", alert_rate=rate))
    alerts = decide(probabilities, rule) == LT30
    assert alerts.mean() == pytest.approx(rate, abs=0.005)
    assert probabilities[alerts, LT30].min() > probabilities[~alerts, LT30].max() - 1e-9
    others = np.delete(probabilities, LT30, axis=1)[~alerts]
    assert (decide(probabilities, rule)[~alerts] == others.argmax(axis=1)).all()


def test_it_is_the_same_every_time() -> None:
    truth, probabilities = calibrated(4)
    aim = Aim(objective="macro_f1")
    assert fit_decision(truth, probabilities, aim) == fit_decision(truth, probabilities, aim)


@given(st.lists(st.sampled_from([0, 1, 2]), min_size=1, max_size=30), st.integers(0, 5))
def test_any_rows_give_a_rule(labels: list[int], seed: int) -> None:
    """Also where a class is absent, or only one is there."""
    probabilities = np.random.default_rng(seed).dirichlet([1, 1, 1], len(labels))
    rule = fit_decision(np.array(labels, np.int8), probabilities, Aim())
    assert np.isfinite([*rule.weights, *rule.offsets]).all()


@given(st.lists(st.floats(0.01, 1), min_size=3, max_size=3), st.integers(0, 9))
def test_one_record_is_decided_as_many_are(raw: list[float], seed: int) -> None:
    generator = np.random.default_rng(seed)
    rule = Decision(weights=tuple(generator.random(3)), offsets=tuple(generator.random(3)))
    probabilities = np.array(raw) / sum(raw)
    assert rule.choose(probabilities.tolist()) == decide(probabilities[None, :], rule)[0]
