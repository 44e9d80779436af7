"""Conditions that one of the three diagnoses may indicate, as sets of ICD-9-CM categories.

Based on the Elixhauser comorbidities (Quan et al. 2005, https://doi.org/10.1097/01.mlr.0000182534.19832.83, table 2),
at the level of categories (three digits; all digits for diabetes), plus a few acute conditions that are known to be
followed by readmissions.
"""


def _span(*ranges: tuple[int, int]) -> frozenset[str]:
    """Categories from the first to the last number of each range, both included; the source drops leading zeros."""
    numbers = [number for first, last in ranges for number in range(first, last + 1)]
    return frozenset(spelling for number in numbers for spelling in (f"{number}", f"{number:03d}"))


_DIABETES_COMPLICATED = frozenset(f"250.{kind}{control}" for kind in range(4, 10) for control in ("", *"0123"))

CONDITIONS: dict[str, frozenset[str]] = {
    "heart_failure": _span((398, 398), (402, 402), (404, 404), (425, 425), (428, 428)),
    "arrhythmia": _span((426, 427)),
    "ischemic_heart": _span((410, 414)),
    "hypertension": _span((401, 405)),
    "cerebrovascular": _span((430, 438)),
    "peripheral_vascular": _span((440, 444), (447, 447), (557, 557)),
    "chronic_pulmonary": _span((490, 496), (500, 505)),
    "pneumonia": _span((480, 487)),
    "diabetes_complicated": _DIABETES_COMPLICATED,
    "renal_failure": _span((584, 588)) | {"V45", "V56"},
    "liver_disease": _span((570, 573)),
    "cancer": _span((140, 208)),
    "anemia": _span((280, 285)),
    "fluid_disorder": _span((276, 276)),
    "obesity": _span((278, 278)),
    "depression": _span((296, 296), (300, 300), (309, 309), (311, 311)),
    "psychosis": _span((295, 295), (297, 298)),
    "substance_use": _span((291, 292), (303, 305)),
    "neurological": _span((290, 290), (294, 294), (331, 336), (340, 345)),
    "skin_ulcer": _span((707, 707)),
    "cellulitis": _span((681, 682)),
    "sepsis": _span((38, 38), (995, 995)),
    "urinary_infection": _span((599, 599)),
    "complication_of_care": _span((996, 999)),
    "aftercare": frozenset({"V54", "V57", "V58"}),
}
"""Name of each condition, and the categories (``icd9.icd9_category``) that belong to it."""
