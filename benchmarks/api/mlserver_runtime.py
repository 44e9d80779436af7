"""The model as MLServer serves it: a custom runtime. Runs in MLServer's environment."""

import json
from pathlib import Path

from mlserver import MLModel
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput

from benchmarks.api.pandas_model import PandasModel


class Runtime(MLModel):  # type: ignore[misc]
    """The shared model behind MLServer's interface.

    A record comes as one string tensor that holds JSON, as in MLServer's own example: its pandas codec would have
    47 tensors to decode.
    """

    async def load(self) -> bool:
        """Load it once."""
        self._model = PandasModel(Path(self.settings.parameters.uri))
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer raw records."""
        columns = self._model.columns
        records = [json.loads(text) for text in payload.inputs[0].data.root]
        frame = self._model.frame([[record.get(name) for name in columns] for record in records])
        labels, probabilities = self._model.predict(frame)
        return InferenceResponse(
            model_name=self.name,
            outputs=[
                ResponseOutput(name="readmission_prediction", shape=[len(labels)], datatype="BYTES", data=labels),
                ResponseOutput(
                    name="probabilities",
                    shape=list(probabilities.shape),
                    datatype="FP64",
                    data=probabilities.ravel().tolist(),
                ),
            ],
        )
