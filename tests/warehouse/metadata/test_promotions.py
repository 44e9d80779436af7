"""The log of promotions."""

import pytest
from building import fetch
from psycopg import Connection
from psycopg.rows import TupleRow
from pydantic import SecretStr

from readmission.warehouse.metadata.promotions import Promotion, log_promotion


def test_promotions_are_kept_in_order(platform: Connection[TupleRow], url: SecretStr) -> None:
    first = Promotion(
        actor="pipeline", model_name="m", from_version=None, to_version="1", decision="promoted", reasons=["first one"]
    )
    second = first.model_copy(
        update={"from_version": "1", "to_version": "2", "reasons": ["a", 'say "b"'], "execution": "x"}
    )
    for promotion in (first, second):
        log_promotion(platform, promotion)
    fields = list(Promotion.model_fields)
    query = """
        SELECT actor, model_name, from_version, to_version, decision, reasons, execution FROM promotions
        WHERE at <= now() ORDER BY id
    """
    rows = [Promotion.model_validate(dict(zip(fields, row, strict=True))) for row in fetch(url, query)]
    assert rows == [first, second]


def test_a_promotion_needs_every_field() -> None:
    with pytest.raises(ValueError, match="decision"):
        Promotion.model_validate(
            {"actor": "a", "model_name": "m", "from_version": None, "to_version": "1", "reasons": []}
        )
