"""Apply the promotion gate: compare a challenger with the limits and with the model in production."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from mlflow import MlflowClient

from readmission.context import Context
from readmission.dataset.source_file import Dataset
from readmission.errors import ReadmissionError, ServiceDownError
from readmission.evaluation.metrics import Probabilities, decide
from readmission.evaluation.promotion_gate import (
    MIN_COMMON_ROWS,
    Floors,
    against_calibration,
    against_inferiority,
    against_synthetic,
    f1_difference,
)
from readmission.evaluation.slices import below_floor
from readmission.registry.champion import Champion, load_champion, unseen_rows
from readmission.results import Interval, Selection
from readmission.settings import Settings
from readmission.training.model import FittedModel
from readmission.training.preparation import Arrays


@dataclass(frozen=True, slots=True)
class Challenger:
    """The winner of an execution on the validation split.

    Attributes:
        model: the fitted model.
        rows: clean rows, n of them.
        arrays: the same rows, encoded.
        probabilities: its predictions, shape (n, 3).
        assignment: name of the split assignment that it was trained with.
    """

    model: FittedModel
    rows: pa.Table
    arrays: Arrays
    probabilities: Probabilities
    assignment: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision of the promotion gate.

    Attributes:
        against: reasons not to publish; empty: publish.
        difference: of weighted F1 to production; None if there was nothing to compare with.
    """

    against: tuple[str, ...]
    difference: Interval | None = None


def floors_of(settings: Settings) -> Floors:
    """The limits from the settings."""
    return Floors(
        f1_margin=settings.gate_f1_margin,
        max_lt30_ece=settings.gate_max_lt30_ece,
        min_f1_ratio=settings.gate_min_f1_ratio,
        max_calibration_gap=settings.gate_max_calibration_gap,
        min_rows=settings.gate_min_rows,
    )


def judge(
    context: Context,
    client: MlflowClient,
    dataset: Dataset,
    selection: Selection,
    challenger: Challenger,
    previous: str | None,
    scratch: Path,
) -> Verdict:
    """Decide whether the challenger may become production.

    Args:
        context: of the execution.
        client: of the registry.
        dataset: the challenger's training data.
        selection: its metrics.
        challenger: the winner.
        previous: version in production, if any.
        scratch: an empty folder.
    """
    floors = floors_of(context.settings)
    against = list(_below_floors(floors, selection, challenger))
    if previous is None:
        return Verdict(tuple(against))
    try:
        champion = load_champion(client, context.services, context.settings.model_name, previous, scratch)
    except ServiceDownError:
        raise
    except ReadmissionError as error:
        return Verdict((*against, f"{error}; compare by hand and use `readmission promote`"))
    against += against_synthetic(dataset.kind, champion.metadata.data_kind)
    difference = _compare(context, champion, challenger)
    if difference is None:
        against.append(
            f"fewer than {MIN_COMMON_ROWS} validation rows were not in the training set of the model in production"
        )
    else:
        against += against_inferiority(difference, floors.f1_margin)
    return Verdict(tuple(against), difference)


def _below_floors(floors: Floors, selection: Selection, challenger: Challenger) -> Iterator[str]:
    yield from against_calibration(challenger.arrays.labels, challenger.probabilities, floors.max_lt30_ece)
    yield from below_floor(selection.slices, selection.metrics["val_f1_score"], floors)


def _compare(context: Context, champion: Champion, challenger: Challenger) -> Interval | None:
    common = np.flatnonzero(unseen_rows(context.services, champion, challenger.assignment))
    if len(common) < MIN_COMMON_ROWS:
        return None
    predictions = decide(challenger.probabilities, challenger.model.decision)
    before = champion.predict(challenger.rows)
    arrays = challenger.arrays
    return f1_difference(arrays.labels[common], before[common], predictions[common], arrays.groups[common])
