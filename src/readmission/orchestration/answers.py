"""What an Airflow task returns of its step's result: small and plain, for Airflow stores it and shows it to people."""

from functools import singledispatch
from typing import Any

from pydantic import BaseModel

from readmission.results import Models, Plan, Publication, Ranking, Selection, TrainedModel

Answer = dict[str, Any]


@singledispatch
def answer(result: BaseModel) -> Any:
    """Return what a task hands to Airflow: the result itself, unless there is a shorter form of it below."""
    return result.model_dump(mode="json")


@answer.register
def _(plan: Plan) -> list[Answer]:
    """The cumulative sets, the largest first: the longest work begins first."""
    return [config.model_dump() for config in reversed(plan.configs)]


@answer.register
def _(one_set: Models) -> Answer:
    """The validation F1 of each type."""
    view = f"train_cumulative_{one_set.models[0].cumulative_idx}"
    return {"view": view, **{model.model_type: model.metrics["val_f1_score"] for model in one_set.models}}


@answer.register
def _(ranking: Ranking) -> Answer:
    return {"models": len(ranking.models), "missing": list(ranking.missing), "best": answer(ranking.models[0])}


@answer.register
def _(model: TrainedModel) -> Answer:
    return {
        "model_type": model.model_type,
        "cumulative_idx": model.cumulative_idx,
        "rows": model.rows,
        "run_id": model.run_id,
        "val_f1_score": model.metrics["val_f1_score"],
    }


@answer.register
def _(selection: Selection) -> Answer:
    figures = {name: selection.metrics[name] for name in ("val_f1_score", "test_f1_score")}
    return {**answer(selection.best), **figures}


@answer.register
def _(publication: Publication) -> Answer:
    model = {} if publication.model is None else answer(publication.model)
    return {**publication.model_dump(mode="json", exclude={"model"}), **model}
