import json

import numpy as np
import pyarrow as pa
import pytest

from readmission.export.reference import reference
from readmission.features.rules import FEATURE_TYPES
from readmission.schema import LABELS
from training_sets import SmallSet, clean

ANSWERS = np.array([[0.5, 0.3, 0.2], [0.7, 0.2, 0.1]])


@pytest.fixture(scope="module")
def described(small_set: SmallSet) -> dict[str, object]:
    return json.loads(json.dumps(reference(clean(small_set.raw_train), ANSWERS)))


def test_shares_sum_to_one(described: dict[str, dict[str, dict[str, object]]]) -> None:
    assert set(described["features"]) == set(FEATURE_TYPES)
    for name, feature in described["features"].items():
        shares = feature["shares"]
        values = shares.values() if isinstance(shares, dict) else shares
        assert sum(values) == pytest.approx(1), name  # type: ignore[arg-type]
    assert sum(described["labels"].values()) == pytest.approx(1)  # type: ignore[arg-type]
    assert described["probabilities"] == pytest.approx(dict(zip(LABELS, [0.6, 0.25, 0.15], strict=True)))


def test_shares_are_those_of_the_rows(described: dict[str, dict[str, dict]], small_set: SmallSet) -> None:
    raw = small_set.raw_train
    assert described["rows"] == len(raw)
    assert described["labels"] == pytest.approx(raw["readmitted"].value_counts(normalize=True).to_dict())
    race = raw["race"].replace("?", "").value_counts(normalize=True).to_dict()
    assert described["features"]["race"]["shares"] == pytest.approx(race)
    weight = described["features"]["weight"]
    assert weight["missing"] == pytest.approx((raw["weight"] == "?").mean())


def test_bins_hold_what_lies_between_their_edges(described: dict[str, dict[str, dict]], small_set: SmallSet) -> None:
    numbers = small_set.raw_train["num_lab_procedures"].astype(int).to_numpy()
    feature = described["features"]["num_lab_procedures"]
    edges, shares = feature["edges"], feature["shares"]
    assert (edges[0], edges[-1]) == (numbers.min(), numbers.max())
    assert len(shares) == len(edges) - 1
    for place, share in enumerate(shares):
        last = place == len(shares) - 1
        inside = (numbers >= edges[place]) & ((numbers <= edges[place + 1]) if last else (numbers < edges[place + 1]))
        assert share == pytest.approx(inside.mean())


def test_a_column_without_any_value_has_no_bins(small_set: SmallSet) -> None:
    table = clean(small_set.raw_train)
    place = table.column_names.index("weight")
    table = table.set_column(place, "weight", pa.nulls(table.num_rows, pa.int32()))
    assert reference(table, ANSWERS)["features"]["weight"] == {
        "kind": "integer", "missing": 1.0, "edges": [], "shares": [],
    }  # fmt: skip
