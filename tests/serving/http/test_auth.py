"""Keys of the API: made, kept as hashes, found again, and refused where they are not what they should be."""

import pytest

from readmission.errors import BadInputError
from readmission.serving.http.auth import Scope, new_key, parse_keys


def test_a_new_key_is_found_under_its_name_and_scope() -> None:
    text, key = new_key("ward-3", Scope.PREDICT)
    found = parse_keys(key.entry).find(text)
    assert found is not None
    assert (found.name, found.scope) == ("ward-3", Scope.PREDICT)


def test_the_setting_does_not_hold_the_key() -> None:
    text, key = new_key("ward", Scope.ADMIN)
    assert text not in key.entry
    assert len(text) > 40


def test_several_keys_are_valid_at_once() -> None:
    made = [new_key(name, Scope.PREDICT) for name in ("old", "new")]
    ring = parse_keys(", ".join(key.entry for _, key in made))
    assert [ring.find(text).name for text, _ in made] == ["old", "new"]  # type: ignore[union-attr]


@pytest.mark.parametrize("given", ["", "x", "rdm_", "ü", "\ud800"])
def test_another_key_is_not_found(given: str) -> None:
    _, key = new_key("ward", Scope.ADMIN)
    assert parse_keys(key.entry).find(given) is None


def test_without_keys_none_is_asked_for() -> None:
    assert parse_keys("").is_open
    assert not parse_keys(new_key("ward", Scope.ADMIN)[1].entry).is_open


@pytest.mark.parametrize(
    "entry", ["secret", "a:b:c", "ward:root:" + "0" * 64, "ward:admin:" + "0" * 63, "wa rd:admin:" + "0" * 64]
)
def test_what_is_no_entry_is_refused_and_not_repeated(entry: str) -> None:
    with pytest.raises(BadInputError, match="NAME:SCOPE:SHA256") as refusal:
        parse_keys(entry)
    assert entry not in str(refusal.value)


def test_a_name_may_be_there_once() -> None:
    entries = [new_key("ward", Scope.ADMIN)[1].entry for _ in range(2)]
    with pytest.raises(BadInputError, match="ward is there twice"):
        parse_keys(",".join(entries))
