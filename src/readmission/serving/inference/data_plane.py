"""From a body to a prediction that is counted and logged, on the model that serves now. No HTTP."""

import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from readmission.features.record import RawValue
from readmission.features.row import stack
from readmission.schema import RECORD_COLUMNS
from readmission.serving.inference.batch import Scores, score_batch
from readmission.serving.inference.decoding import Values, decode_record
from readmission.serving.inference.errors import LogOffError, NoModelError, UnscorableError
from readmission.serving.inference.explainer import Explanation
from readmission.serving.inference.scorer import Prediction, Scorer
from readmission.serving.inference.validation import check_record
from readmission.serving.prediction_log.batch_records import make_batch_record
from readmission.serving.prediction_log.records import (
    BatchRecord,
    FeedbackRecord,
    LogRecord,
    PredictionRecord,
    record_json,
    storable,
)
from readmission.serving.telemetry.ids import prediction_id, prediction_ids
from readmission.serving.telemetry.metrics import Metrics

_NAMES = tuple(column.name for column in RECORD_COLUMNS)


class LoggedPrediction(NamedTuple):
    """A prediction that was counted, and logged under an id."""

    prediction: Prediction
    prediction_id: str


class BatchPredictions(NamedTuple):
    """Predictions for n rows of a batch.

    Attributes:
        ids: shape (n, 16), bytes.
        scores: of the rows.
    """

    ids: npt.NDArray[np.uint8]
    scores: Scores


class EncodedRecord(NamedTuple):
    """A record that is ready to be scored.

    Attributes:
        scorer: the model that encoded it.
        row: its features.
        unseen: names of columns whose values training never saw, and why.
        json: as the prediction log keeps it.
    """

    scorer: Scorer
    row: list[float]
    unseen: Sequence[tuple[str, str]]
    json: bytes


class Models(Protocol):
    """Holds the model that serves."""

    @property
    def current(self) -> Scorer | None:
        """It; None before the first is loaded."""


class PredictionSink(Protocol):
    """Takes what is to be logged."""

    def put(self, record: LogRecord) -> None:
        """Log one prediction or outcome; returns at once."""

    def put_batch(self, record: BatchRecord) -> None:
        """Log the predictions of a batch; may wait for a disk."""


class DataPlane:
    """Scores records on the model that serves now.

    Args:
        models: holds the model.
        metrics: counts predictions.
        sink: logs them; None: nobody does.
    """

    def __init__(self, models: Models, metrics: Metrics, sink: PredictionSink | None = None) -> None:
        self._models = models
        self._metrics = metrics
        self._sink = sink

    @property
    def is_ready(self) -> bool:
        """Whether a model is loaded."""
        return self._models.current is not None

    @property
    def scorer(self) -> Scorer:
        """The model that serves.

        Raises:
            NoModelError: none is loaded.
        """
        scorer = self._models.current
        if scorer is None:
            raise NoModelError
        return scorer

    def predict(self, body: bytes) -> LoggedPrediction:
        """Score the record of one body: ``encode`` and ``score``.

        Raises:
            PredictionError: there is no prediction, and why.
        """
        (found,) = self.score([self.encode(body)])
        if found is None:
            raise UnscorableError
        return found

    def encode(self, body: bytes) -> EncodedRecord:
        """Decode, check and encode the record of one body, for ``score``.

        A record all of whose values the model has met is encoded by look-ups; any other is checked and encoded by the
        rules, and its values are looked up from then on.

        Args:
            body: JSON, ``{"features": {...}}``.

        Raises:
            InvalidJsonError, InvalidFieldsError: the body is wrong.
            NoModelError: no model is loaded.
            UnscorableError: a number is beyond what the model computes with.
        """
        values, is_bare = decode_record(body)
        return self._encode(values, body if is_bare else None)

    def _encode(self, values: Values, json: bytes | None) -> EncodedRecord:
        scorer = self.scorer
        row = scorer.rows.encode_known(values)
        if row is None:
            return self._encode_new(scorer, values)
        return EncodedRecord(scorer, row, scorer.unseen.among(values), json or _json(_named(values)))

    def _encode_new(self, scorer: Scorer, values: Values) -> EncodedRecord:
        record = _named(check_record(values))
        row = _encoded(scorer, record)
        unseen = [(name, reason) for name, value in record.items() if (reason := scorer.unseen.find(name, value))]
        _learn(scorer, record, dict(unseen))
        return EncodedRecord(scorer, row, unseen, _json(record))

    def score(self, records: Sequence[EncodedRecord]) -> list[LoggedPrediction | None]:
        """Score records together, each on the model that encoded it; None where that gave no probabilities."""
        found: list[LoggedPrediction | None] = []
        for _, group in groupby(records, key=lambda record: id(record.scorer)):
            same = list(group)
            predictions = same[0].scorer.score_rows(stack([record.row for record in same]))
            found += map(self._log, same, predictions)
        return found

    def explain(self, body: bytes) -> tuple[LoggedPrediction, Explanation]:
        """Score the record of one body and say what each feature adds.

        Raises:
            PredictionError: there is no prediction, or the model has no explanation.
        """
        values = check_record(decode_record(body).values)
        encoded = self._encode(values, None)
        (prediction,) = encoded.scorer.score_rows(stack([encoded.row]))
        if prediction is None:
            raise UnscorableError
        explanation = encoded.scorer.explainer.explain(_named(values), prediction.label)
        logged = self._log(encoded, prediction)
        assert logged is not None  # noqa: S101 - for the type checker
        return logged, explanation

    def predict_batch(self, columns: pa.Table) -> tuple[str, Iterator[BatchPredictions]]:
        """Score many records.

        Args:
            columns: checked dictionary columns of text (``decoding``).

        Returns:
            the model's version, and the predictions chunk by chunk.

        Raises:
            NoModelError: no model is loaded.
        """
        scorer = self.scorer
        return scorer.version, self._score_batch(scorer, columns)

    def _score_batch(self, scorer: Scorer, columns: pa.Table) -> Iterator[BatchPredictions]:
        self._count_unseen(scorer, columns)
        start = 0
        for scores in score_batch(scorer, columns):
            chunk = columns.slice(start, len(scores.labels))
            start += chunk.num_rows
            at = time.time()
            ids = prediction_ids(at, chunk.num_rows)
            self._metrics.predicted_batch(scores.labels, scorer.version)
            if self._sink is not None:
                record = make_batch_record(chunk, ids, scores.labels, scores.probabilities, scorer.version, at)
                self._sink.put_batch(record)
            yield BatchPredictions(ids, scores)

    def _count_unseen(self, scorer: Scorer, columns: pa.Table) -> None:
        for name in columns.column_names:
            column = columns.column(name).combine_chunks()
            reasons = [scorer.unseen.find(name, text) for text in column.dictionary.to_pylist()]
            if any(reasons):
                counts = np.bincount(column.indices, minlength=len(reasons)).tolist()
                for reason, count in zip(reasons, counts, strict=True):
                    if reason is not None and count:
                        self._metrics.unseen(name, reason, count)

    def take_feedback(self, prediction_id: str, readmitted: str) -> None:
        """Log what became of a prediction.

        Raises:
            LogOffError: nothing is logged here.
        """
        if self._sink is None:
            raise LogOffError
        self._sink.put(FeedbackRecord(prediction_id, time.time(), readmitted))

    def _log(self, record: EncodedRecord, prediction: Prediction | None) -> LoggedPrediction | None:
        if prediction is None:
            return None
        for name, reason in record.unseen:
            self._metrics.unseen(name, reason)
        at = time.time()
        number = prediction_id(at)
        label, probabilities, version = prediction
        self._metrics.predicted(label, version)
        if self._sink is not None:
            self._sink.put(PredictionRecord(number, at, version, record.json, probabilities, label))
        return LoggedPrediction(prediction, number)


def _named(values: Values) -> dict[str, RawValue]:
    return dict(zip(_NAMES, values, strict=True))


def _json(record: Mapping[str, RawValue]) -> bytes:
    return record_json({name: value for name, value in record.items() if value is not None})


def _encoded(scorer: Scorer, record: Mapping[str, RawValue]) -> list[float]:
    try:
        row: list[float] = scorer.rows.encode(record)[0].tolist()
    except ValueError:  # its message may quote the record
        raise UnscorableError from None
    return row


def _learn(scorer: Scorer, record: Mapping[str, RawValue], unseen: Mapping[str, str]) -> None:
    """Have the values of a record looked up from now on."""
    for name, value in record.items():
        if scorer.rows.knows(name, value) or storable(value) != value:
            continue
        # In this order: values that are looked up must be counted as unseen, too.
        if name not in unseen or scorer.unseen.remember(name, value, unseen[name]):
            scorer.rows.learn(name, value)
