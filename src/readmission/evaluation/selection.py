"""Rank the models of one execution and choose the best. Pure functions."""

from collections.abc import Sequence

from readmission.results import TrainedModel


def rank(models: Sequence[TrainedModel]) -> tuple[TrainedModel, ...]:
    """Sort models, best first: by validation F1, then ROC-AUC, then the smaller set, then the name."""
    return tuple(sorted(models, key=_merit))


def _merit(model: TrainedModel) -> tuple[float, float, int, str]:
    return -model.metrics["val_f1_score"], -model.metrics["val_roc_auc"], model.cumulative_idx, model.model_type
