"""Groups of ICD-9-CM codes.

The nine groups of Strack et al. 2014, table 2 (https://doi.org/10.1155/2014/781670), with the paper's "other" group
split further into the chapters of ICD-9-CM, volume 1.
"""

from bisect import bisect_right

_SYMPTOMS_OF = {785: "circulatory", 786: "respiratory", 787: "digestive", 788: "genitourinary"}
"""Symptom codes that Strack et al. assign to an organ system."""

_CHAPTERS: tuple[tuple[int, str], ...] = (
    (1, "infectious"),
    (140, "neoplasms"),
    (240, "endocrine"),
    (280, "blood"),
    (290, "mental"),
    (320, "nervous"),
    (390, "circulatory"),
    (460, "respiratory"),
    (520, "digestive"),
    (580, "genitourinary"),
    (630, "pregnancy"),
    (680, "skin"),
    (710, "musculoskeletal"),
    (740, "congenital"),
    (760, "perinatal"),
    (780, "symptoms"),
    (800, "injury"),
    (1000, "other"),
)
CATEGORY_DIGITS = 3

_STARTS = [start for start, _ in _CHAPTERS]

GROUPS: tuple[str, ...] = tuple(sorted({name for _, name in _CHAPTERS} | {"diabetes", "supplementary", "external"}))


def icd9_group(code: str) -> str:
    """Name the group of one code (``"250.83"``, ``"V45"``, ``"E909"``); text that is no ICD-9 code is ``"other"``."""
    if code[:1] == "V":
        return "supplementary"
    if code[:1] == "E":
        return "external"
    category = code.partition(".")[0]
    if not (category.isascii() and category.isdigit() and len(category) <= CATEGORY_DIGITS):
        return "other"
    return _numeric_group(int(category))


def icd9_category(code: str) -> str:
    """Shorten a code to its category (``"428"``, ``"V45"``, ``"E909"``); codes of diabetes keep all digits."""
    return code if code.startswith("250") else code.partition(".")[0]


def _numeric_group(category: int) -> str:
    if category == 250:  # diabetes mellitus
        return "diabetes"
    if category in _SYMPTOMS_OF:
        return _SYMPTOMS_OF[category]
    position = bisect_right(_STARTS, category) - 1
    return _CHAPTERS[position][1] if position >= 0 else "other"
