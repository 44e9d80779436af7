import pytest
from hypothesis import given
from hypothesis import strategies as st

from readmission.features.icd9 import GROUPS, icd9_group

STRACK = {
    "circulatory": ((390, 459), (785, 785)),
    "respiratory": ((460, 519), (786, 786)),
    "digestive": ((520, 579), (787, 787)),
    "diabetes": ((250, 250),),
    "injury": ((800, 999),),
    "musculoskeletal": ((710, 739),),
    "genitourinary": ((580, 629), (788, 788)),
    "neoplasms": ((140, 239),),
}
"""Table 2 of Strack et al. 2014: first and last category of each named group."""

CHAPTERS = {
    "infectious": ((1, 139),),
    "endocrine": ((240, 249), (251, 279)),
    "blood": ((280, 289),),
    "mental": ((290, 319),),
    "nervous": ((320, 389),),
    "pregnancy": ((630, 679),),
    "skin": ((680, 709),),
    "congenital": ((740, 759),),
    "perinatal": ((760, 779),),
    "symptoms": ((780, 784), (789, 799)),
}
"""The chapters of ICD-9-CM, volume 1, that make up the paper's group "other"."""

ALL = {**STRACK, **CHAPTERS}
RANGES = [(group, first, last) for group, ranges in ALL.items() for first, last in ranges]


def expected_group(category: int) -> str:
    return next(group for group, first, last in RANGES if first <= category <= last)


@pytest.mark.parametrize(("group", "first", "last"), RANGES)
def test_ends_of_a_range_are_in_its_group(group: str, first: int, last: int) -> None:
    assert {icd9_group(str(first)), icd9_group(str(last)), icd9_group(f"{last}.99")} == {group}


@pytest.mark.parametrize(("group", "first", "last"), RANGES)
def test_neighbours_of_a_range_are_in_other_groups(group: str, first: int, last: int) -> None:
    assert group not in (icd9_group(str(first - 1)), icd9_group(f"{first - 1}.9"), icd9_group(str(last + 1)))


def test_every_category_is_in_the_group_of_the_paper() -> None:
    found = {category: icd9_group(str(category)) for category in range(1, 1000)}
    assert found == {category: expected_group(category) for category in range(1, 1000)}


@given(st.integers(1, 999), st.integers(0, 99))
def test_digits_behind_the_point_do_not_change_the_group(category: int, detail: int) -> None:
    assert icd9_group(f"{category}.{detail}") == icd9_group(str(category))


@given(st.integers(1, 99))
def test_leading_zeros_do_not_change_the_group(category: int) -> None:
    assert icd9_group(f"{category:03d}") == icd9_group(str(category))


@pytest.mark.parametrize("code", ["250", "250.0", "250.00", "250.83", "250.99"])
def test_diabetes(code: str) -> None:
    assert icd9_group(code) == "diabetes"


@pytest.mark.parametrize(
    ("code", "group"),
    [
        ("V01", "supplementary"),
        ("V45", "supplementary"),
        ("V91.99", "supplementary"),
        ("E909", "external"),
        ("E0", "external"),
    ],
)
def test_letters_name_the_supplementary_chapters(code: str, group: str) -> None:
    assert icd9_group(code) == group


@pytest.mark.parametrize(
    "code",
    ["", " ", ".", ".5", "0", "000", "1000", "9999999", "-250", "+250", " 250", "2 50", "250a", "v45", "e909", "I10",
     "None", "²", "٢٥٠", "9" * 5000],
)  # fmt: skip
def test_what_is_no_code_is_other(code: str) -> None:
    assert icd9_group(code) == "other"


@given(st.text(max_size=8))
def test_every_text_has_a_known_group(code: str) -> None:
    assert icd9_group(code) in GROUPS


def test_groups_are_those_that_occur() -> None:
    assert set(GROUPS) == {*ALL, "supplementary", "external", "other"}
    assert len(GROUPS) == len(set(GROUPS))
