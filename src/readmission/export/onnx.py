"""Export a fitted estimator to ONNX: the encoder's float32 matrix in, probabilities out.

Trees are converted by skl2onnx and onnxmltools. Logistic regression is converted here: the converters make a node for
every category, while comparing all levels with one gathered matrix takes four nodes.
"""

import re
from typing import Any

import numpy as np
import onnx
from lightgbm import Booster, LGBMClassifier
from onnx import TensorProto, helper, numpy_helper
from onnxmltools import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType as LightGbmFloats
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.pipeline import Pipeline

from readmission.model_bundle.files import ONNX_INPUT, ONNX_PROBABILITIES
from readmission.schema import LABELS
from readmission.training.linear import LinearTerms, linear_terms

OPSET = 18
IR_VERSION = 10


def export_onnx(estimator: Any, n_features: int) -> bytes:
    """Export an estimator of ``training.estimators``.

    Args:
        estimator: fitted; knows every label.
        n_features: columns of its matrix.

    Returns:
        a model with the input ``input`` float32 (n, n_features) and the output ``probabilities`` float32 (n, 3).
    """
    if isinstance(estimator, Pipeline):
        model = _linear(linear_terms(estimator), n_features)
    elif isinstance(estimator, LGBMClassifier):
        floats = [(ONNX_INPUT, LightGbmFloats([None, n_features]))]
        model = convert_lightgbm(_in_float32(estimator), initial_types=floats, zipmap=False, target_opset=15)
    else:
        floats = [(ONNX_INPUT, FloatTensorType([None, n_features]))]
        model = to_onnx(estimator, initial_types=floats, options={"zipmap": False}, target_opset=OPSET)
    return bytes(_only_probabilities(model).SerializeToString())


def _in_float32(estimator: LGBMClassifier) -> Booster:
    """Convert the trees' thresholds to float32 without changing a prediction.

    A float32 number is at most a threshold exactly if it is at most the largest float32 number below that threshold.
    The converter would round to the nearest float32 number, and a value between the two would take the other branch.
    """
    # LightGBM stores the size of each tree's text, which changes here; without sizes it reads one tree after the other.
    text = re.sub(r"(?m)^tree_sizes=.*\n", "", estimator.booster_.model_to_string())
    return Booster(model_str=re.sub(r"(?m)^threshold=(.*)$", _floor_thresholds, text))


def _floor_thresholds(line: re.Match[str]) -> str:
    exact = np.array(line[1].split(), np.float64)
    nearest = exact.astype(np.float32)
    floored = np.where(nearest > exact, np.nextafter(nearest, np.float32(-np.inf)), nearest)
    return "threshold=" + " ".join(repr(float(value)) for value in floored)


def _only_probabilities(model: onnx.ModelProto) -> onnx.ModelProto:
    """Keep the output with the probabilities; the decision rule chooses the class, not the model."""
    kept = [output for output in model.graph.output if output.name == ONNX_PROBABILITIES]
    del model.graph.output[:]
    model.graph.output.extend(kept)
    onnx.checker.check_model(model)
    return model


def _linear(terms: LinearTerms, n_features: int) -> onnx.ModelProto:
    constants = {
        "category_columns": terms.category_columns,
        "levels": terms.levels.astype(np.float32)[None, :],
        "level_weights": terms.level_weights.astype(np.float32),
        "number_columns": terms.number_columns,
        "number_weights": terms.number_weights.astype(np.float32),
        "intercept": terms.intercept.astype(np.float32),
    }
    nodes = [
        helper.make_node("Gather", [ONNX_INPUT, "category_columns"], ["repeated"], axis=1),
        helper.make_node("Equal", ["repeated", "levels"], ["is_level"]),
        helper.make_node("Cast", ["is_level"], ["one_hot"], to=TensorProto.FLOAT),
        helper.make_node("Gemm", ["one_hot", "level_weights", "intercept"], ["from_levels"]),
        helper.make_node("Gather", [ONNX_INPUT, "number_columns"], ["numbers"], axis=1),
        helper.make_node("MatMul", ["numbers", "number_weights"], ["from_numbers"]),
        helper.make_node("Add", ["from_levels", "from_numbers"], ["logits"]),
        helper.make_node("Softmax", ["logits"], [ONNX_PROBABILITIES], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "logistic_regression",
        [helper.make_tensor_value_info(ONNX_INPUT, TensorProto.FLOAT, [None, n_features])],
        [helper.make_tensor_value_info(ONNX_PROBABILITIES, TensorProto.FLOAT, [None, len(LABELS)])],
        [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
