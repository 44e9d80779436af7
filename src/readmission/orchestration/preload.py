"""Imported by the server that training processes fork from: everything they need is loaded once, before the first task.

Storing a model for the first time costs MLflow and skops seconds of looking through installed packages. Storing a tiny
one here means that every process inherits what was found.
"""

import tempfile
from pathlib import Path

import numpy as np
from sklearn.tree import DecisionTreeClassifier

import readmission.orchestration.model_stages  # noqa: F401 - what the processes run
from readmission.export.artifacts import save_model
from readmission.features.encoder import Encoder
from readmission.model_bundle.files import Decision
from readmission.training.model import FittedModel

with tempfile.TemporaryDirectory() as _folder:
    _estimator = DecisionTreeClassifier().fit(np.zeros((2, 1), np.float32), [0, 1])
    _model = FittedModel(Encoder(features=()).model_dump_json(), _estimator, Decision().model_dump_json())
    save_model(_model, Path(_folder) / "model")
