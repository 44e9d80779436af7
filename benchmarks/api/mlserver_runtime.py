"""The model served by MLServer with a custom runtime. Runs in MLServer's environment."""

import json
from pathlib import Path

from mlserver import MLModel
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput

from benchmarks.api.registered import RegisteredModel
from readmission.schema import LABELS


class Runtime(MLModel):  # type: ignore[misc]
    """The registered model as an MLServer runtime.

    A record comes as one string tensor that holds JSON, as in MLServer's own example: its pandas codec would have
    47 tensors to decode.
    """

    async def load(self) -> bool:
        """Load the model."""
        self._model = RegisteredModel(Path(self.settings.parameters.uri))
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Predict raw records."""
        answers = self._model.answers([json.loads(text) for text in payload.inputs[0].data.root])
        labels = [answer["readmission_prediction"] for answer in answers]
        chances = [answer["probabilities"][label] for answer in answers for label in LABELS]
        return InferenceResponse(
            model_name=self.name,
            outputs=[
                ResponseOutput(name="readmission_prediction", shape=[len(labels)], datatype="BYTES", data=labels),
                ResponseOutput(name="probabilities", shape=[len(labels), len(LABELS)], datatype="FP64", data=chances),
            ],
        )
