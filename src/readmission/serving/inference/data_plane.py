"""The logic of the API, without HTTP."""

import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple, Protocol

import numpy as np
import pyarrow as pa

from readmission.features.record import RawValue
from readmission.features.row import stack
from readmission.schema import LABELS
from readmission.serving.http.batch_texts import BatchTexts, as_texts
from readmission.serving.http.problems import no_model, not_kept, unscorable
from readmission.serving.http.schemas import ModelInfo, Preprocessing
from readmission.serving.inference.batch import score_columns
from readmission.serving.inference.explainer import Explained
from readmission.serving.inference.model_store import ModelStore
from readmission.serving.inference.scorer import Answer, Scorer
from readmission.serving.prediction_log.batch_records import make_entry
from readmission.serving.prediction_log.records import (
    BatchEntry,
    Entry,
    FeedbackEntry,
    PredictionEntry,
    record_json,
    storable,
)
from readmission.serving.telemetry.ids import prediction_id, prediction_ids
from readmission.serving.telemetry.metrics import Telemetry

PREDICTION_ID = b"x-prediction-id"
MODEL_VERSION = b"x-model-version"


class Predicted(NamedTuple):
    """An answer that was counted and kept under an id."""

    answer: Answer
    prediction_id: str

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """What is told beside the answer."""
        return [(PREDICTION_ID, self.prediction_id.encode()), (MODEL_VERSION, self.answer.version.encode())]


class Prepared(NamedTuple):
    """A record that is ready to be scored.

    Attributes:
        scorer: the model that looked it up.
        row: its features.
        oddities: columns, and what is unusual about their values.
        json: as the prediction log keeps it.
    """

    scorer: Scorer
    row: list[float]
    oddities: list[tuple[str, str]]
    json: bytes


class Keeper(Protocol):
    """Who keeps predictions."""

    def put(self, entry: Entry) -> None:
        """Keep one; takes no time."""

    def put_batch(self, entry: BatchEntry) -> None:
        """Keep many; may wait for a disk."""


class DataPlane:
    """Scores records on the model that serves now.

    Args:
        store: holds the model.
        telemetry: counts predictions.
        keeper: keeps them; None: nobody does.
    """

    def __init__(self, store: ModelStore, telemetry: Telemetry, keeper: Keeper | None = None) -> None:
        self._store = store
        self._telemetry = telemetry
        self._keeper = keeper

    @property
    def ready(self) -> bool:
        """Whether a model is loaded."""
        return self._store.current is not None

    @property
    def version(self) -> str:
        """Version of the model that serves.

        Raises:
            ProblemError: no model is loaded (503).
        """
        return self._scorer().version

    def predict(self, raw: Mapping[str, RawValue]) -> Predicted:
        """Score one record.

        Args:
            raw: checked values under the source's names.

        Raises:
            ProblemError: no model is loaded (503), or the record is beyond what it can compute with (422).
        """
        scorer = self._scorer()
        try:
            answer = scorer.score(raw)
        except ValueError:  # its message may quote the record
            raise unscorable() from None
        self._remember(scorer, raw)
        return self._keep(answer, record_json(raw))

    def prepare(self, values: Sequence[RawValue], record: bytes) -> Prepared | None:
        """Look a record up, if all of its values have been met and checked before; ``finish`` scores it.

        Args:
            values: one for each of ``schema.RECORD_COLUMNS``, in their order; None is missing.
            record: the same as the caller wrote it: a JSON object whose member ``features`` it is.
        """
        scorer = self._store.current
        row = None if scorer is None else scorer.rows.encode_known(values)
        if scorer is None or row is None:
            return None
        return Prepared(scorer, row, scorer.unusual.among(values), record)

    def finish(self, prepared: Sequence[Prepared]) -> list[Predicted | None]:
        """Score records together, each on the model that looked it up; None where that gave no probabilities."""
        found: list[Predicted | None] = []
        for _, group in groupby(prepared, key=lambda item: id(item.scorer)):
            records = list(group)
            answers = records[0].scorer.score_rows(stack([record.row for record in records]))
            found += map(self._finish, records, answers)
        return found

    def _finish(self, record: Prepared, answer: Answer | None) -> Predicted | None:
        if answer is None:
            return None
        for name, oddity in record.oddities:
            self._telemetry.unusual(name, oddity)
        return self._keep(answer, record.json)

    def explain(self, raw: Mapping[str, RawValue]) -> tuple[Predicted, Explained]:
        """Score one record and take the answer apart.

        Args:
            raw: checked values under the source's names.

        Raises:
            ProblemError: see ``predict``.
        """
        scorer = self._scorer()
        try:
            answer = scorer.score(raw)
            explained = scorer.explainer.explain(raw, answer.label)
        except ValueError:
            raise unscorable() from None
        self._remember(scorer, raw)
        return self._keep(answer, record_json(raw)), explained

    def predict_batch(self, raw: pa.Table) -> tuple[str, Iterator[BatchTexts]]:
        """Score many records.

        Args:
            raw: checked text columns (``batches``).

        Returns:
            the model's version, and the answers chunk by chunk.

        Raises:
            ProblemError: no model is loaded (503).
        """
        scorer = self._scorer()
        return scorer.version, self._score_batch(scorer, raw)

    def _score_batch(self, scorer: Scorer, raw: pa.Table) -> Iterator[BatchTexts]:
        self._count_unusual(scorer, raw)
        start = 0
        for scores in score_columns(scorer, raw):
            chunk = raw.slice(start, len(scores.labels))
            start += chunk.num_rows
            at = time.time()
            ids = prediction_ids(at, chunk.num_rows)
            self._telemetry.predicted_batch(scores.labels, scorer.version)
            if self._keeper is not None:
                self._keeper.put_batch(make_entry(chunk, ids, scores, scorer.version, at))
            yield as_texts(ids, scores)

    def _count_unusual(self, scorer: Scorer, raw: pa.Table) -> None:
        for name in raw.column_names:
            column = raw.column(name).combine_chunks()
            oddities = [scorer.unusual.find(name, text) for text in column.dictionary.to_pylist()]
            if any(oddities):
                counts = np.bincount(column.indices, minlength=len(oddities)).tolist()
                for oddity, count in zip(oddities, counts, strict=True):
                    if oddity is not None and count:
                        self._telemetry.unusual(name, oddity, count)

    def take_feedback(self, prediction_id: str, readmitted: str) -> None:
        """Keep what became of a prediction.

        Raises:
            ProblemError: this server keeps nothing (503).
        """
        if self._keeper is None:
            raise not_kept()
        self._keeper.put(FeedbackEntry(prediction_id, time.time(), readmitted))

    def _keep(self, answer: Answer, record: bytes) -> Predicted:
        at = time.time()
        number = prediction_id(at)
        self._telemetry.predicted(answer)
        if self._keeper is not None:
            entry = PredictionEntry(number, at, answer.version, record, answer.probabilities, answer.label)
            self._keeper.put(entry)
        return Predicted(answer, number)

    def _remember(self, scorer: Scorer, raw: Mapping[str, RawValue]) -> None:
        """Count what is unusual, and let the fast lane take the same values from now on."""
        for name, value in raw.items():
            oddity = scorer.unusual.find(name, value)
            if oddity is not None:
                self._telemetry.unusual(name, oddity)
            if scorer.rows.knows(name, value) or storable(value) != value:
                continue
            # First: what the fast lane takes, it also counts.
            if oddity is None or scorer.unusual.meet(name, value, oddity):
                scorer.rows.learn(name, value)

    def model_info(self) -> ModelInfo:
        """Describe the model that serves.

        Raises:
            ProblemError: no model is loaded (503).
        """
        scorer = self._scorer()
        encoder = scorer.encoder
        return ModelInfo(
            **scorer.metadata.model_dump(),
            version=scorer.version,
            labels=LABELS,
            preprocessing=Preprocessing(encoder_version=encoder.version, features=len(encoder.features)),
            loaded_at=scorer.loaded_at,
        )

    def _scorer(self) -> Scorer:
        scorer = self._store.current
        if scorer is None:
            raise no_model()
        return scorer
