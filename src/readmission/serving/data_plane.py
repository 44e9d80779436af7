"""The logic of the API, without HTTP."""

from collections.abc import Mapping

from readmission.features.record import RawValue
from readmission.schema import LABELS
from readmission.serving.errors import no_model, unscorable
from readmission.serving.model_store import ModelStore
from readmission.serving.models import ModelInfo, Preprocessing
from readmission.serving.scorer import Answer, Scorer
from readmission.serving.telemetry import Telemetry


class DataPlane:
    """Scores records on the model that serves now."""

    def __init__(self, store: ModelStore, telemetry: Telemetry) -> None:
        self._store = store
        self._telemetry = telemetry

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

    def predict(self, raw: Mapping[str, RawValue]) -> Answer:
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
        self._telemetry.predicted(answer)
        return answer

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
