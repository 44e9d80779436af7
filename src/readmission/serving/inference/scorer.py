"""One published bundle, loaded and checked by its self-test: raw record in, prediction out."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as onnx_errors
from pydantic import BaseModel

from readmission.errors import BadInputError
from readmission.features.encoder import Encoder
from readmission.features.record import RawValue
from readmission.features.row import RowEncoder
from readmission.features.rules import FEATURE_TYPES
from readmission.model_bundle import files as bundle
from readmission.schema import LABELS, MISSING, RECORD_COLUMNS, Kind
from readmission.serving.inference.explainer import Explainer
from readmission.serving.inference.unseen_values import UnseenValues

_ONNX_ERRORS = (
    onnx_errors.EPFail,
    onnx_errors.Fail,
    onnx_errors.InvalidArgument,
    onnx_errors.InvalidGraph,
    onnx_errors.InvalidProtobuf,
    onnx_errors.NoModel,
    onnx_errors.NotFound,
    onnx_errors.NotImplemented,
    onnx_errors.RuntimeException,
)  # ONNX Runtime gives its exceptions no common base.
Part = TypeVar("Part", bound=BaseModel)

_OUTPUTS = [bundle.ONNX_PROBABILITIES]
_BROKEN = (*_ONNX_ERRORS, OSError, ValueError, TypeError, LookupError)


class Prediction(NamedTuple):
    """The class of one record and how likely each class is.

    Attributes:
        label: one of ``schema.LABELS``.
        probabilities: one per label, in the order of ``schema.LABELS``; they sum to 1.
        version: the model version that answered.
    """

    label: str
    probabilities: tuple[float, ...]
    version: str


@dataclass(frozen=True, slots=True)
class Scorer:
    """One loaded bundle; any number of requests and threads may share it.

    It never changes, but for bounded caches of values that it has met (``rows``, ``unseen``) and the explainer, which
    is laid out when it is first used. No prediction depends on them.

    Attributes:
        version: the registry's version number.
        session: the model in ONNX Runtime.
        encoder: the fitted encoder.
        rows: the same, compiled for single records.
        unseen: finds values that training did not see.
        explainer: takes predictions apart.
        decision: how probabilities become a class.
        metadata: what people ask about the model.
        together: whether the model gives the same bits to a row alone and among others: sums over trees do, products of
            matrices do not, and no prediction may depend on who else asked.
        loaded_at: UTC.
    """

    version: str
    session: onnxruntime.InferenceSession
    encoder: Encoder
    rows: RowEncoder
    unseen: UnseenValues
    explainer: Explainer
    decision: bundle.Decision
    metadata: bundle.Metadata
    together: bool = False
    loaded_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def score(self, raw: Mapping[str, RawValue]) -> Prediction:
        """Score one record.

        Args:
            raw: values under the source's names; absent, None and ``?`` are missing, unseen levels are allowed.

        Returns:
            its class is decided on the model's own float32 probabilities.

        Raises:
            ValueError: a count is no whole number, a number is beyond float32, or the model gave no probabilities.
        """
        (prediction,) = self.score_rows(self.rows.encode(raw))
        if prediction is None:
            raise ValueError("the model's probabilities do not sum to 1")
        return prediction

    def score_rows(self, rows: npt.NDArray[np.float32]) -> list[Prediction | None]:
        """Score encoded records, in one run of the model if that changes nothing.

        Args:
            rows: of ``rows``, shape (n, features).

        Returns:
            a prediction for each, which does not depend on the others; None where the model gave no probabilities.
        """
        runs = [rows] if self.together else [rows[index : index + 1] for index in range(len(rows))]
        return [self._predict(probabilities) for run in runs for probabilities in self._run(run)]

    def _run(self, rows: npt.NDArray[np.float32]) -> list[list[float]]:
        (output,) = self.session.run(_OUTPUTS, {bundle.ONNX_INPUT: rows})
        found: list[list[float]] = output.tolist()
        return found

    def _predict(self, probabilities: list[float]) -> Prediction | None:
        total = math.fsum(probabilities)
        if not abs(total - 1.0) < 1e-3:  # also true for NaN
            return None
        # float32 leaves the sum 1e-7 off; in float64 it is 1 within 1e-15.
        normal = tuple([probability / total for probability in probabilities])
        return Prediction(LABELS[self.decision.choose(probabilities)], normal, self.version)


def load_scorer(folder: Path, version: str) -> Scorer:
    """Load a bundle and run its self-test: a model that does not give its stored predictions is refused.

    Args:
        folder: the files of ``bundle.FILES``.
        version: the registry's version number.

    Raises:
        BadInputError: a file is missing or broken, the parts do not fit together, or the self-test failed.
    """
    try:
        scorer = _open(folder, version)
        self_test = _read(folder, bundle.SELFTEST_FILE, bundle.SelfTest)
        _check_parts(scorer, self_test)
        _run_self_test(scorer, self_test)
        scorer = replace(scorer, together=_same_together(scorer, self_test))
        for name, value in _ordinary_values():
            scorer.rows.learn(name, value)
    except _BROKEN as error:
        # Only the kind: messages of pydantic and Python may quote a record of the self-test.
        raise BadInputError(f"Model version {version} cannot be loaded: {_reason(error)}") from None
    return scorer


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, _MismatchError) else type(error).__name__


class _MismatchError(ValueError):
    """The bundle contradicts itself; the message quotes no record."""


def _open(folder: Path, version: str) -> Scorer:
    missing = [name for name in bundle.FILES if not (folder / name).is_file()]
    if missing:
        raise _MismatchError(f"{', '.join(missing)} missing")
    encoder = _read(folder, bundle.ENCODER_FILE, Encoder)
    if not set(encoder.sources) <= FEATURE_TYPES.keys():
        raise _MismatchError(f"{bundle.ENCODER_FILE} reads features that this release does not make")
    rows = RowEncoder(encoder)
    return Scorer(
        version=version,
        session=_open_session(folder / bundle.MODEL_FILE),
        encoder=encoder,
        rows=rows,
        unseen=UnseenValues(encoder),
        explainer=Explainer((folder / bundle.EXPLAIN_FILE).read_bytes(), encoder, rows),
        decision=_read(folder, bundle.DECISION_FILE, bundle.Decision),
        metadata=_read(folder, bundle.METADATA_FILE, bundle.Metadata),
    )


def _open_session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    # One row is tens of microseconds of work: a second thread costs more than it brings.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])


def _read(folder: Path, name: str, kind: type[Part]) -> Part:
    try:
        return kind.model_validate(json.loads((folder / name).read_bytes()))
    except ValueError:
        raise _MismatchError(f"{name} is not what it should be") from None


def _check_parts(scorer: Scorer, self_test: bundle.SelfTest) -> None:
    names = scorer.encoder.names
    decision = scorer.decision
    if decision.labels != LABELS or not len(decision.weights) == len(decision.offsets) == len(LABELS):
        raise _MismatchError(f"{bundle.DECISION_FILE} decides over other labels")
    if scorer.metadata.features != names:
        raise _MismatchError(f"{bundle.METADATA_FILE} and {bundle.ENCODER_FILE} name different features")
    if not self_test.records:
        raise _MismatchError(f"{bundle.SELFTEST_FILE} holds no record")


def _ordinary_values() -> Iterator[tuple[str, RawValue]]:
    """Values as requests hold them: all that the published file has, but for the diagnoses, which are many."""
    for column in RECORD_COLUMNS:
        yield from ((column.name, value) for value in (None, MISSING))
        if column.kind is Kind.COUNT:
            yield from ((column.name, number) for number in range(column.seen_low, column.seen_high + 1))
        for level in column.levels:
            yield column.name, int(level) if column.is_number else level


def _run_self_test(scorer: Scorer, self_test: bundle.SelfTest) -> None:
    expected = zip(self_test.records, self_test.labels, self_test.probabilities, strict=True)
    for number, (record, label, probabilities) in enumerate(expected, start=1):
        prediction = scorer.score(record)
        if prediction.label != label:
            raise _MismatchError(f"self-test record {number} got another class")
        if not _close(prediction.probabilities, probabilities):
            raise _MismatchError(f"self-test record {number} got other probabilities")


def _same_together(scorer: Scorer, self_test: bundle.SelfTest) -> bool:
    rows = np.concatenate([scorer.rows.encode(record) for record in self_test.records])
    return replace(scorer, together=True).score_rows(rows) == scorer.score_rows(rows)


def _close(given: tuple[float, ...], expected: tuple[float, ...]) -> bool:
    pairs = zip(given, expected, strict=True)
    return all(abs(one - other) <= bundle.PARITY_TOLERANCE for one, other in pairs)
