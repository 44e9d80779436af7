import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from readmission.model_bundle import files as bundle
from readmission.model_bundle.files import Decision, Metadata, SelfTest
from readmission.schema import LABELS

METADATA = {
    "name": "diabetes_readmission_model",
    "run_id": "1f",
    "model_type": "gradient_boosting",
    "cumulative_idx": 4,
    "train_rows": 71_236,
    "trained_at": "2026-01-01T00:00:00Z",
    "data_source": "uci:296",
    "data_kind": "real",
    "data_sha256": "0" * 64,
    "features": ["age", "race"],
    "metrics": {"val_f1_score": 0.57},
    "parity_max_difference": 1e-7,
}

probabilities = st.lists(st.floats(0, 1), min_size=3, max_size=3)
positive = st.floats(0.01, 100)


@given(probabilities)
def test_without_weights_the_most_probable_class_is_chosen(values: list[float]) -> None:
    chosen = Decision().choose(values)
    assert values[chosen] == max(values)
    assert max(values) not in values[:chosen]


@given(probabilities, st.tuples(positive, positive, positive))
def test_weights_move_the_choice(values: list[float], weights: tuple[float, float, float]) -> None:
    scores = [weight * value for weight, value in zip(weights, values, strict=True)]
    assert scores[Decision(weights=weights).choose(values)] == max(scores)


def test_a_weight_makes_a_rare_class_possible() -> None:
    values = [0.5, 0.3, 0.2]
    assert LABELS[Decision().choose(values)] == "NO"
    assert LABELS[Decision(weights=(1.0, 1.0, 3.0)).choose(values)] == "<30"


def test_the_first_of_equals_is_chosen() -> None:
    assert Decision().choose([0.2, 0.4, 0.4]) == 1


@pytest.mark.parametrize("values", [[], [0.5, 0.5], [0.1, 0.2, 0.3, 0.4]])
def test_another_number_of_probabilities_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="zip"):
        Decision().choose(values)


def test_a_decision_follows_the_order_of_the_labels() -> None:
    assert Decision().labels == LABELS


@pytest.mark.parametrize(
    "part",
    [
        Decision(rule="weighted", weights=(1.0, 1.5, 2.0)),
        SelfTest(records=({"race": "Asian"},), probabilities=((0.2, 0.3, 0.5),), labels=("<30",)),
        Metadata.model_validate(METADATA),
    ],
    ids=lambda part: type(part).__name__,
)
def test_json_round_trip(part: Decision | SelfTest | Metadata) -> None:
    assert type(part).model_validate_json(part.model_dump_json()) == part


@pytest.mark.parametrize("kind", [Decision, SelfTest, Metadata])
def test_unknown_fields_are_refused(kind: type[Decision | SelfTest | Metadata]) -> None:
    known = {"records": [], "probabilities": [], "labels": []} if kind is SelfTest else {}
    known = METADATA if kind is Metadata else known
    kind.model_validate(known)
    with pytest.raises(ValidationError, match="surprise"):
        kind.model_validate({**known, "surprise": 1})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("cumulative_idx", -1),
        ("train_rows", 0),
        ("parity_max_difference", -0.1),
        ("data_kind", "imagined"),
        ("metrics", {"val_f1_score": "good"}),
    ],
)
def test_impossible_metadata_is_refused(field: str, value: object) -> None:
    with pytest.raises(ValidationError, match=field):
        Metadata.model_validate({**METADATA, field: value})


def test_a_later_version_of_the_decision_is_refused() -> None:
    written = {**json.loads(Decision().model_dump_json()), "version": 2}
    with pytest.raises(ValidationError, match="version"):
        Decision.model_validate(written)


def test_parts_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Decision().rule = "coin"


def test_every_file_has_a_name_of_its_own() -> None:
    named = {value for name, value in vars(bundle).items() if name.endswith("_FILE")}
    assert named == set(bundle.FILES)
    assert len(bundle.FILES) == 7
