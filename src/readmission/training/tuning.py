"""Search the parameters of ``tuned_boosting`` with Optuna, judged by the out-of-fold log loss on training rows."""

import time
from collections.abc import Callable
from itertools import count
from typing import Any

import optuna
from sklearn.metrics import log_loss

from readmission.features.encoder import Encoder
from readmission.schema import LABELS
from readmission.training.estimators import TUNED_PARAMS, make_tuned
from readmission.training.fitting import predict_out_of_fold
from readmission.training.preparation import Arrays
from readmission.training.tuned_parameters import TunedParams

Report = Callable[[str, int, int], None]


def search(arrays: Arrays, encoder: Encoder, digest: str, minutes: float, threads: int, report: Report) -> TunedParams:
    """Search for a number of minutes; the trial that is running then is finished.

    Args:
        arrays: of the training set, from ``prepare``.
        encoder: of the same.
        digest: of its rows, for the file.
        minutes: budget.
        threads: that a fit may use.
        report: called after each trial with what, done and total (0: unknown).
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=42, multivariate=True))
    study.enqueue_trial(dict(TUNED_PARAMS))
    deadline = time.monotonic() + 60 * minutes

    def judge(trial: optuna.Trial) -> float:
        params = _suggest(trial)
        truth, probabilities = predict_out_of_fold(arrays, lambda: make_tuned(encoder, threads, params))
        return float(log_loss(truth, probabilities, labels=list(range(len(LABELS)))))

    for number in count(1):  # the default parameters are always tried, as the first trial
        study.optimize(judge, n_trials=1)
        report(f"trial {number}: log loss {study.trials[-1].value:.5f}, best {study.best_value:.5f}", number, 0)
        if time.monotonic() >= deadline:
            break
    first = study.trials[0].value
    return TunedParams(
        params=study.best_params,
        log_loss=study.best_value,
        default_log_loss=float("nan") if first is None else first,
        trials=len(study.trials),
        rows=len(arrays.labels),
        digest=digest,
    )


def _suggest(trial: optuna.Trial) -> dict[str, Any]:
    return {
        "n_estimators": trial.suggest_int("n_estimators", 100, 700, step=50),
        "learning_rate": trial.suggest_float("learning_rate", 0.015, 0.15, log=True),
        "max_depth": trial.suggest_int("max_depth", 3, 8),
        "num_leaves": trial.suggest_int("num_leaves", 7, 63),
        "max_bin": trial.suggest_int("max_bin", 31, 255, log=True),
        "colsample_bytree": trial.suggest_float("colsample_bytree", 0.15, 1.0),
        "subsample": trial.suggest_float("subsample", 0.5, 1.0),
        "subsample_freq": trial.suggest_int("subsample_freq", 1, 1),
        "min_child_samples": trial.suggest_int("min_child_samples", 10, 800, log=True),
        "reg_lambda": trial.suggest_float("reg_lambda", 0.01, 100.0, log=True),
    }
