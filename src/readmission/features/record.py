"""Apply the cleaning rules to one record (the API): a mapping in, a mapping out."""

from collections.abc import Mapping

from readmission.features.rules import DERIVED, RULES, CleanValue, Derived
from readmission.schema import MISSING

RawValue = str | int | None


def clean_record(raw: Mapping[str, RawValue]) -> dict[str, CleanValue]:
    """Clean one raw record.

    Args:
        raw: values under the source's names, numbers as numbers or text; None and absent names count as missing.

    Returns:
        one value for each of ``rules.FEATURE_TYPES``, in that order; None is missing.

    Raises:
        ValueError: a count is not a whole number.
    """
    cleaned: dict[str, CleanValue] = {rule.name: rule.clean(as_text(raw.get(rule.source))) for rule in RULES}
    for derived in DERIVED:
        cleaned[derived.name] = _derive(derived, cleaned)
    return cleaned


def as_text(value: RawValue) -> str:
    """Format a raw value as the source does."""
    return MISSING if value is None else str(value)


def _derive(derived: Derived, cleaned: Mapping[str, CleanValue]) -> int:
    total = _total(derived, cleaned)
    if derived.per is None:
        return total
    per = cleaned[derived.per]
    return 10 * total // max(per if isinstance(per, int) else 1, 1)


def _total(derived: Derived, cleaned: Mapping[str, CleanValue]) -> int:
    values = (cleaned[name] for name in derived.sources)
    if not derived.weights:
        return sum(value for value in values if isinstance(value, int))
    return sum(derived.weights.get(value, 0) for value in values if isinstance(value, str))
