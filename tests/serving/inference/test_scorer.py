"""A bundle serves only if it is whole and gives its own answers."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from serving_bundle import MadeBundle, edit_json, records

from readmission.errors import BadInputError
from readmission.features.record import clean_record
from readmission.model_bundle import files as bundle
from readmission.schema import LABELS
from readmission.serving.inference.scorer import load_scorer


@pytest.mark.parametrize("fixture", ["tree_bundle", "linear_bundle"])
def test_scores_equal_the_fitted_pipeline(fixture: str, request: pytest.FixtureRequest) -> None:
    made: MadeBundle = request.getfixturevalue(fixture)
    rows = records(400, seed=77)
    scorer = load_scorer(made.folder, "3")
    answers = [scorer.score(row) for row in rows]
    expected = made.probabilities(rows)
    np.testing.assert_allclose([a.probabilities for a in answers], expected, atol=1e-6)
    assert [a.label for a in answers] == [LABELS[made.decision.choose(row)] for row in expected.tolist()]
    assert {a.label for a in answers} == set(LABELS)
    assert {a.version for a in answers} == {"3"}


def test_the_decision_weights_decide(tree_bundle: MadeBundle) -> None:
    scorer = load_scorer(tree_bundle.folder, "1")
    answers = [scorer.score(row) for row in records(400, seed=78)]
    assert any(LABELS[a.probabilities.index(max(a.probabilities))] != a.label for a in answers)


def test_probabilities_sum_to_one_in_double_precision(linear_bundle: MadeBundle) -> None:
    scorer = load_scorer(linear_bundle.folder, "1")
    for row in records(100, seed=79):
        assert math.isclose(math.fsum(scorer.score(row).probabilities), 1.0, abs_tol=1e-12)


def test_numbers_and_their_text_score_alike(tree_bundle: MadeBundle) -> None:
    scorer = load_scorer(tree_bundle.folder, "1")
    row = {"number_inpatient": "12", "time_in_hospital": "?", "admission_type_id": "3"}
    assert scorer.score({"number_inpatient": 12, "time_in_hospital": None, "admission_type_id": 3}) == scorer.score(row)


def test_the_session_uses_one_thread(tree_bundle: MadeBundle) -> None:
    options = load_scorer(tree_bundle.folder, "1").session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)


def test_a_number_beyond_float32_is_no_silent_infinity(tree_bundle: MadeBundle) -> None:
    scorer = load_scorer(tree_bundle.folder, "1")
    with pytest.raises(ValueError, match=r"beyond float32|whole number"):
        scorer.score({"number_inpatient": "9" * 60})


@pytest.mark.parametrize("name", bundle.FILES)
def test_every_file_is_needed(copied_bundle: Path, name: str) -> None:
    (copied_bundle / name).unlink()
    with pytest.raises(BadInputError, match=f"version 9 cannot be loaded: {name} missing"):
        load_scorer(copied_bundle, "9")


LOADED = [
    bundle.MODEL_FILE,
    bundle.ENCODER_FILE,
    bundle.DECISION_FILE,
    bundle.SELFTEST_FILE,
    bundle.METADATA_FILE,
]


GARBAGE = (b"", b"garbage", b"{}", b"[]", b"\xff\xfe\x00", b'{"features": 3}')
WRONG = [(name, content) for name in LOADED for content in GARBAGE]
WRONG.remove((bundle.DECISION_FILE, b"{}"))  # an empty decision is the default one


@pytest.mark.parametrize(("name", "content"), WRONG)
def test_garbage_in_a_file_is_refused(copied_bundle: Path, name: str, content: bytes) -> None:
    (copied_bundle / name).write_bytes(content)
    with pytest.raises(BadInputError, match="version 9 cannot be loaded") as caught:
        load_scorer(copied_bundle, "9")
    assert "\n" not in str(caught.value)


def test_a_cut_model_file_is_refused(copied_bundle: Path) -> None:
    model = copied_bundle / bundle.MODEL_FILE
    model.write_bytes(model.read_bytes()[:-200])
    with pytest.raises(BadInputError, match="cannot be loaded"):
        load_scorer(copied_bundle, "9")


def _self_test(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / bundle.SELFTEST_FILE).read_text()))


def test_another_class_in_the_self_test_is_refused(copied_bundle: Path) -> None:
    labels = _self_test(copied_bundle)["labels"]
    labels[4] = next(label for label in LABELS if label != labels[4])
    edit_json(copied_bundle / bundle.SELFTEST_FILE, labels=labels)
    with pytest.raises(BadInputError, match="self-test record 5 got another class"):
        load_scorer(copied_bundle, "9")


@pytest.mark.parametrize(("shift", "accepted"), [(0.5e-5, True), (2e-5, False), (float("nan"), False)])
def test_probabilities_must_agree_within_the_tolerance(copied_bundle: Path, shift: float, accepted: bool) -> None:
    probabilities = _self_test(copied_bundle)["probabilities"]
    probabilities[2][0] += shift
    edit_json(copied_bundle / bundle.SELFTEST_FILE, probabilities=probabilities)
    if accepted:
        assert load_scorer(copied_bundle, "9").version == "9"
        return
    with pytest.raises(BadInputError, match="self-test record 3 got other probabilities"):
        load_scorer(copied_bundle, "9")


def test_a_self_test_without_records_proves_nothing(copied_bundle: Path) -> None:
    edit_json(copied_bundle / bundle.SELFTEST_FILE, records=[], labels=[], probabilities=[])
    with pytest.raises(BadInputError, match="holds no record"):
        load_scorer(copied_bundle, "9")


def test_a_self_test_with_fewer_answers_than_records_is_refused(copied_bundle: Path) -> None:
    edit_json(copied_bundle / bundle.SELFTEST_FILE, labels=_self_test(copied_bundle)["labels"][:-1])
    with pytest.raises(BadInputError, match="ValueError"):
        load_scorer(copied_bundle, "9")


def test_a_decision_over_other_labels_is_refused(copied_bundle: Path) -> None:
    edit_json(copied_bundle / bundle.DECISION_FILE, labels=["NO", "<30", ">30"])
    with pytest.raises(BadInputError, match="other labels"):
        load_scorer(copied_bundle, "9")


def test_features_of_encoder_and_metadata_must_agree(copied_bundle: Path) -> None:
    edit_json(copied_bundle / bundle.METADATA_FILE, features=["age"])
    with pytest.raises(BadInputError, match="name different features"):
        load_scorer(copied_bundle, "9")


def test_a_feature_that_this_release_does_not_make_is_refused(copied_bundle: Path) -> None:
    encoder = json.loads((copied_bundle / bundle.ENCODER_FILE).read_text())
    encoder["features"][0]["name"] = "blood_type"
    edit_json(copied_bundle / bundle.ENCODER_FILE, features=encoder["features"])
    names = [feature["name"] for feature in encoder["features"]]
    edit_json(copied_bundle / bundle.METADATA_FILE, features=names)
    with pytest.raises(BadInputError, match="does not make"):
        load_scorer(copied_bundle, "9")


def test_a_model_of_another_width_is_refused(copied_bundle: Path, tmp_path: Path) -> None:
    encoder = json.loads((copied_bundle / bundle.ENCODER_FILE).read_text())
    edit_json(copied_bundle / bundle.ENCODER_FILE, features=encoder["features"][:-1])
    names = [feature["name"] for feature in encoder["features"][:-1]]
    edit_json(copied_bundle / bundle.METADATA_FILE, features=names)
    with pytest.raises(BadInputError, match="cannot be loaded"):
        load_scorer(copied_bundle, "9")


def test_refusals_quote_no_record(copied_bundle: Path) -> None:
    records_ = _self_test(copied_bundle)["records"]
    records_[0]["time_in_hospital"] = "SECRET"
    edit_json(copied_bundle / bundle.SELFTEST_FILE, records=records_)
    with pytest.raises(BadInputError) as caught:
        load_scorer(copied_bundle, "9")
    assert "SECRET" not in str(caught.value)


def test_the_class_is_decided_on_what_onnx_gives(tree_bundle: MadeBundle) -> None:
    session = onnxruntime.InferenceSession(tree_bundle.folder / bundle.MODEL_FILE)
    scorer = load_scorer(tree_bundle.folder, "1")
    for row in records(50, seed=80):
        numbers = np.array([tree_bundle.encoder.encode_record(clean_record(row))], np.float32)
        (output,) = session.run([bundle.ONNX_PROBABILITIES], {bundle.ONNX_INPUT: numbers})
        assert scorer.score(row).label == LABELS[tree_bundle.decision.choose(output[0].tolist())]
        np.testing.assert_allclose(scorer.score(row).probabilities, output[0], atol=1e-6)
