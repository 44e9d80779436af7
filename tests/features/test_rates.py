"""Rates of outcomes by level: smoothed, alike for columns and records, and blind to a training row's own outcome."""

import numpy as np
import pyarrow as pa
import pytest
from feature_records import raw_columns, records
from hypothesis import given, settings
from hypothesis import strategies as st

from readmission.features.columns import clean_columns
from readmission.features.encoder import Encoder, RateFeature
from readmission.features.fit import encode_columns, fit_encoder
from readmission.features.rates import MIN_COUNT, STRENGTH, encode_training, with_rates
from readmission.features.rules import FEATURE_TYPES
from readmission.schema import LABELS

SOON = LABELS.index("<30")
LEVELS = [f"level {number}" for number in range(12)]


def table(payer: list[str | None]) -> pa.Table:
    """Clean columns that are all missing but one."""
    arrow = {"text": pa.string(), "integer": pa.int32()}
    columns = {name: pa.nulls(len(payer), arrow[dtype]) for name, dtype in FEATURE_TYPES.items()}
    return pa.table({**columns, "payer_code": pa.array(payer, pa.string())})


def drawn(rows: int = 1200, seed: int = 0) -> tuple[pa.Table, np.ndarray]:
    """Levels that say nothing of the outcomes."""
    generator = np.random.default_rng(seed)
    payer = [LEVELS[place] for place in generator.integers(0, len(LEVELS), rows)]
    return table(payer), generator.choice(3, rows, p=[0.5, 0.3, 0.2]).astype(np.int8)


def rate(encoder: Encoder, outcome: str) -> RateFeature:
    (found,) = [item for item in encoder.features if isinstance(item, RateFeature) and item.outcome == outcome]
    return found


def test_a_rate_is_the_share_pulled_towards_all() -> None:
    clean, labels = drawn()
    found = rate(with_rates(fit_encoder(clean), clean, labels), "<30")
    soon = labels == SOON
    own = np.array(clean["payer_code"].to_pylist()) == LEVELS[3]
    expected = (soon[own].sum() + STRENGTH * soon.mean()) / (own.sum() + STRENGTH)
    assert found.codes[LEVELS[3]] == pytest.approx(expected, abs=1e-4)
    assert found.other == pytest.approx(soon.mean(), abs=1e-4)
    assert found.name == "payer_code_lt30_rate"


def test_few_levels_need_no_rates() -> None:
    clean, labels = drawn()
    few = table([level if level in LEVELS[:4] else LEVELS[0] for level in clean["payer_code"].to_pylist()])
    assert not [item for item in with_rates(fit_encoder(few), few, labels).features if isinstance(item, RateFeature)]


def test_a_rare_or_new_level_has_the_overall_rate() -> None:
    payer = [level for level in LEVELS for _ in range(40)] + ["rare"] * (MIN_COUNT - 1)
    labels = np.tile([0, 1, 2], len(payer))[: len(payer)].astype(np.int8)
    clean = table(payer)
    encoder = with_rates(fit_encoder(clean), clean, labels)
    found = rate(encoder, "<30")
    place = encoder.features.index(found)
    answers = encode_columns(encoder, table(["rare", "never seen", None]))[:, place]
    np.testing.assert_array_equal(answers, np.float32([found.other] * 3))


def test_training_rows_do_not_see_their_own_outcome() -> None:
    """Levels that mean nothing must say nothing, also to the rows that they were fitted on."""
    clean, labels = drawn(rows=1200)
    payer = [f"{number % 60}" for number in range(1200)]
    clean = table(payer)
    encoder = with_rates(fit_encoder(clean), clean, labels)
    folds = (np.arange(1200) // 7 % 5).astype(np.int8)
    place = encoder.features.index(rate(encoder, "<30"))
    soon = labels == SOON

    def gap(matrix: np.ndarray) -> float:
        return float(matrix[soon, place].mean() - matrix[~soon, place].mean())

    assert gap(encode_columns(encoder, clean)) > 0.005
    assert gap(encode_training(encoder, clean, labels, folds)) < 0.002


def test_a_fold_is_encoded_by_the_others_alone() -> None:
    clean, labels = drawn()
    encoder = with_rates(fit_encoder(clean), clean, labels)
    folds = (np.arange(len(labels)) % 4).astype(np.int8)
    other = labels.copy()
    other[folds == 2] = (other[folds == 2] + 1) % 3
    first, second = (encode_training(encoder, clean, outcome, folds) for outcome in (labels, other))
    np.testing.assert_array_equal(first[folds == 2], second[folds == 2])
    assert (first[folds != 2] != second[folds != 2]).any()


@settings(max_examples=25)
@given(records(min_size=1), records(min_size=1), st.integers(0, 9))
def test_columns_and_records_are_encoded_alike(train: list, other: list, seed: int) -> None:
    clean = clean_columns(raw_columns(train))
    labels = np.random.default_rng(seed).integers(0, 3, len(train)).astype(np.int8)
    encoder = with_rates(fit_encoder(clean, 1), clean, labels)
    assert Encoder.model_validate_json(encoder.model_dump_json()) == encoder
    for rows in (train, other):
        cleaned = clean_columns(raw_columns(rows))
        one_by_one = np.array([encoder.encode_record(row) for row in cleaned.to_pylist()], np.float32)
        np.testing.assert_array_equal(encode_columns(encoder, cleaned), one_by_one.reshape(len(rows), -1))


def test_chunks_and_dictionaries_make_no_difference() -> None:
    clean, labels = drawn()
    chunked = pa.concat_tables([clean.slice(0, 500), clean.slice(500)])
    encoded = clean.set_column(
        clean.column_names.index("payer_code"), "payer_code", clean["payer_code"].combine_chunks().dictionary_encode()
    )
    folds = (np.arange(len(labels)) % 5).astype(np.int8)
    expected = with_rates(fit_encoder(clean), clean, labels)
    for same in (chunked, encoded):
        assert with_rates(fit_encoder(same), same, labels) == expected
        np.testing.assert_array_equal(
            encode_training(expected, same, labels, folds), encode_training(expected, clean, labels, folds)
        )
