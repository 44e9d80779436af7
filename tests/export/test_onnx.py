"""ONNX gives the fitted model's answers; what does not is refused."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from readmission.errors import ReadmissionError
from readmission.export.artifacts import prove_parity
from readmission.export.onnx import export_onnx
from readmission.model_bundle.files import ONNX_INPUT, ONNX_PROBABILITIES, PARITY_TOLERANCE
from readmission.results import CHALLENGERS, MODEL_TYPES, Aim
from readmission.training.fitting import Fit, fit
from training_sets import SmallSet, make_set


@pytest.mark.parametrize("model_type", [*MODEL_TYPES, *CHALLENGERS])
def test_export_answers_as_the_fitted_model(fits: dict[str, Fit], small_set: SmallSet, model_type: str) -> None:
    model = fits[model_type].model
    exported = export_onnx(model.estimator, len(model.encoder.features))
    assert 0 <= prove_parity(model, exported, small_set.validation.matrix) <= PARITY_TOLERANCE


@pytest.mark.parametrize("model_type", [*MODEL_TYPES, *CHALLENGERS])
def test_export_has_one_input_and_one_output(fits: dict[str, Fit], model_type: str) -> None:
    model = fits[model_type].model
    graph = onnx.load_from_string(export_onnx(model.estimator, len(model.encoder.features))).graph
    assert [item.name for item in graph.input] == [ONNX_INPUT]
    assert [item.name for item in graph.output] == [ONNX_PROBABILITIES]
    assert graph.input[0].type.tensor_type.shape.dim[1].dim_value == len(model.encoder.features)


@pytest.mark.parametrize("model_type", [*MODEL_TYPES, *CHALLENGERS])
def test_fewer_features_export_too(small_set: SmallSet, tmp_path: Path, model_type: str) -> None:
    raw = small_set.raw_train.copy()
    for name in ("race", "age", "payer_code", "num_medications", "diag_2"):
        raw[name] = raw[name].iloc[0]  # a column that does not vary is left out
    made = make_set(raw, small_set.raw_validation, tmp_path / "fewer")
    assert len(made.encoder.features) < len(small_set.encoder.features)
    model = fit(made.prepared, model_type, Aim()).model
    exported = export_onnx(model.estimator, len(made.encoder.features))
    assert prove_parity(model, exported, made.validation.matrix) <= PARITY_TOLERANCE


@pytest.mark.parametrize("name", ["intercept", "level_weights"])
def test_tampered_weights_are_refused(fits: dict[str, Fit], small_set: SmallSet, name: str) -> None:
    model = fits["logistic_regression"].model
    tampered = onnx.load_from_string(export_onnx(model.estimator, len(model.encoder.features)))
    (weights,) = [item for item in tampered.graph.initializer if item.name == name]
    weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights) + np.float32([0.01, 0, 0]), name))
    with pytest.raises(ReadmissionError, match=r"ONNX export refused: .* largest difference"):
        prove_parity(model, tampered.SerializeToString(), small_set.validation.matrix)


def test_another_models_export_is_refused(fits: dict[str, Fit], small_set: SmallSet) -> None:
    tree, forest = fits["decision_tree"].model, fits["random_forest"].model
    exported = export_onnx(tree.estimator, len(tree.encoder.features))
    with pytest.raises(ReadmissionError, match="ONNX export refused"):
        prove_parity(forest, exported, small_set.validation.matrix)
