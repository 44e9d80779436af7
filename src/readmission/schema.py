"""The record of a hospital stay: its 50 columns, their kinds, vocabularies, ranges and labels.

The single definition. Source: UCI "Diabetes 130-US hospitals for years 1999-2008" (Strack et al. 2014,
https://doi.org/10.1155/2014/781670, table 1; CC BY 4.0). Levels and observed ranges are those of the published file.
"""

from dataclasses import dataclass
from enum import StrEnum

MISSING = "?"
"""How the source file writes a missing value. ``None`` (not measured) is a level of its own, not a missing value."""

LABELS: tuple[str, str, str] = ("NO", ">30", "<30")
"""The classes in the order of every probability vector: index 0, 1, 2."""

LABEL_COLUMN = "readmitted"
ENCOUNTER_ID = "encounter_id"
PATIENT_NBR = "patient_nbr"

CSV_SHA256 = "0689e7ec031237dc63031b938805c48377748761a3b26acab621567afa24df97"
"""SHA-256 of the published ``diabetic_data.csv`` (101,766 rows)."""

CSV_NAME = "diabetic_data.csv"

EXPIRED_DISCHARGES: tuple[str, ...] = ("11", "13", "14", "19", "20", "21")
"""``discharge_disposition_id`` of stays that ended in death (11, 19, 20, 21) or hospice (13, 14)."""


class Kind(StrEnum):
    """What a column holds."""

    IDENTIFIER = "identifier"  # a whole number that names an encounter or a patient; never a feature
    CATEGORY = "category"  # one of a few words
    CODE = "code"  # a whole number that stands for a category
    COUNT = "count"  # a whole number that counts something
    DIAGNOSIS = "diagnosis"  # an ICD-9-CM code
    LABEL = "label"  # the outcome


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the record.

    Attributes:
        name: as the source spells it.
        kind: what it holds.
        description: one line for people.
        example: a value of the documented example record.
        levels: known values of a category or code, as text.
        low, high: the allowed range of a number; a value outside is an error.
        seen_low, seen_high: the range in the published file; a value outside is unseen, but valid.
        unit: unit of a count.
    """

    name: str
    kind: Kind
    description: str
    example: str
    levels: tuple[str, ...] = ()
    low: int = 0
    high: int = 0
    seen_low: int = 0
    seen_high: int = 0
    unit: str = ""

    @property
    def is_number(self) -> bool:
        """Whether the source has whole numbers in this column."""
        return self.kind in (Kind.IDENTIFIER, Kind.CODE, Kind.COUNT)


MAX_ID = 2**63 - 1


def _identifier(name: str, description: str, example: str) -> Column:
    return Column(name, Kind.IDENTIFIER, description, example, low=0, high=MAX_ID, seen_low=0, seen_high=MAX_ID)


def _category(name: str, description: str, example: str, *levels: str) -> Column:
    return Column(name, Kind.CATEGORY, description, example, levels=levels)


def _code(name: str, description: str, example: str, known: int) -> Column:
    levels = tuple(str(number) for number in range(1, known + 1))
    return Column(name, Kind.CODE, description, example, levels, low=1, high=99, seen_low=1, seen_high=known)


def _count(
    name: str, description: str, example: str, possible: tuple[int, int], seen: tuple[int, int], unit: str
) -> Column:
    return Column(name, Kind.COUNT, description, example, (), *possible, *seen, unit)


def _diagnosis(name: str, description: str, example: str) -> Column:
    return Column(name, Kind.DIAGNOSIS, description, example)


def _medication(name: str) -> Column:
    description = f"{name}: dose went up or down during the stay, stayed steady, or was not prescribed"
    return _category(name, description, "No", "No", "Steady", "Up", "Down")


MEDICATIONS: tuple[str, ...] = (
    "metformin",
    "repaglinide",
    "nateglinide",
    "chlorpropamide",
    "glimepiride",
    "acetohexamide",
    "glipizide",
    "glyburide",
    "tolbutamide",
    "pioglitazone",
    "rosiglitazone",
    "acarbose",
    "miglitol",
    "troglitazone",
    "tolazamide",
    "examide",
    "citoglipton",
    "insulin",
    "glyburide-metformin",
    "glipizide-metformin",
    "glimepiride-pioglitazone",
    "metformin-rosiglitazone",
    "metformin-pioglitazone",
)
"""The 23 medication columns, in the order of the file."""

AGE_BANDS: tuple[str, ...] = tuple(f"[{start}-{start + 10})" for start in range(0, 100, 10))
WEIGHT_BANDS: tuple[str, ...] = (*(f"[{start}-{start + 25})" for start in range(0, 200, 25)), ">200")

_SPECIALTIES = (
    "AllergyandImmunology Anesthesiology Anesthesiology-Pediatric Cardiology Cardiology-Pediatric DCPTEAM Dentistry "
    "Dermatology Emergency/Trauma Endocrinology Endocrinology-Metabolism Family/GeneralPractice Gastroenterology "
    "Gynecology Hematology Hematology/Oncology Hospitalist InfectiousDiseases InternalMedicine Nephrology Neurology "
    "Neurophysiology Obsterics&Gynecology-GynecologicOnco Obstetrics ObstetricsandGynecology Oncology Ophthalmology "
    "Orthopedics Orthopedics-Reconstructive Osteopath Otolaryngology OutreachServices Pathology Pediatrics "
    "Pediatrics-AllergyandImmunology Pediatrics-CriticalCare Pediatrics-EmergencyMedicine Pediatrics-Endocrinology "
    "Pediatrics-Hematology-Oncology Pediatrics-InfectiousDiseases Pediatrics-Neurology Pediatrics-Pulmonology "
    "Perinatology PhysicalMedicineandRehabilitation PhysicianNotFound Podiatry Proctology Psychiatry "
    "Psychiatry-Addictive Psychiatry-Child/Adolescent Psychology Pulmonology Radiologist Radiology Resident "
    "Rheumatology Speech SportsMedicine Surgeon Surgery-Cardiovascular Surgery-Cardiovascular/Thoracic "
    "Surgery-Colon&Rectal Surgery-General Surgery-Maxillofacial Surgery-Neuro Surgery-Pediatric Surgery-Plastic "
    "Surgery-PlasticwithinHeadandNeck Surgery-Thoracic Surgery-Vascular SurgicalSpecialty Urology"
).split()

COLUMNS: tuple[Column, ...] = (
    _identifier(ENCOUNTER_ID, "unique number of the encounter", "2278392"),
    _identifier(PATIENT_NBR, "unique number of the patient", "8222157"),
    _category("race", "race", "Caucasian", "Caucasian", "AfricanAmerican", "Hispanic", "Asian", "Other"),
    _category("gender", "gender", "Female", "Female", "Male", "Unknown/Invalid"),
    _category("age", "age in bands of ten years", "[70-80)", *AGE_BANDS),
    _category("weight", "weight in bands of 25 pounds", MISSING, *WEIGHT_BANDS),
    _code("admission_type_id", "kind of admission (1 emergency, 2 urgent, 3 elective, ...)", "1", 8),
    _code("discharge_disposition_id", "where the patient went (1 home, 3 skilled nursing, 11 died, ...)", "1", 30),
    _code("admission_source_id", "where the patient came from (1 referral, 7 emergency room, ...)", "7", 26),
    _count("time_in_hospital", "days between admission and discharge", "1", (0, 365), (1, 14), "days"),
    _category(
        "payer_code", "who pays", MISSING,
        *"BC CH CM CP DM FR HM MC MD MP OG OT PO SI SP UN WC".split(),
    ),
    _category("medical_specialty", "specialty of the admitting physician", "Emergency/Trauma", *_SPECIALTIES),
    _count("num_lab_procedures", "lab tests during the stay", "41", (0, 1000), (1, 132), "tests"),
    _count("num_procedures", "procedures other than lab tests", "0", (0, 100), (0, 6), "procedures"),
    _count("num_medications", "distinct generic names administered", "1", (0, 500), (1, 81), "medications"),
    _count("number_outpatient", "outpatient visits in the year before", "0", (0, 1000), (0, 42), "visits"),
    _count("number_emergency", "emergency visits in the year before", "0", (0, 1000), (0, 76), "visits"),
    _count("number_inpatient", "inpatient visits in the year before", "0", (0, 1000), (0, 21), "visits"),
    _diagnosis("diag_1", "primary diagnosis, ICD-9-CM", "250.83"),
    _diagnosis("diag_2", "secondary diagnosis, ICD-9-CM", MISSING),
    _diagnosis("diag_3", "additional secondary diagnosis, ICD-9-CM", MISSING),
    _count("number_diagnoses", "diagnoses entered", "1", (0, 100), (1, 16), "diagnoses"),
    _category("max_glu_serum", "glucose serum test; None: not measured", "None", "None", "Norm", ">200", ">300"),
    _category("A1Cresult", "A1c test; None: not measured", "None", "None", "Norm", ">7", ">8"),
    *(_medication(name) for name in MEDICATIONS),
    _category("change", "a change of diabetes medication", "No", "No", "Ch"),
    _category("diabetesMed", "any diabetes medication prescribed", "No", "Yes", "No"),
    Column(LABEL_COLUMN, Kind.LABEL, "days to readmission", "NO", levels=LABELS),
)  # fmt: skip
"""All 50 columns, in the order of the file."""

BY_NAME: dict[str, Column] = {column.name: column for column in COLUMNS}
COLUMN_NAMES: tuple[str, ...] = tuple(column.name for column in COLUMNS)
IDENTIFIERS: tuple[str, ...] = (ENCOUNTER_ID, PATIENT_NBR)
RECORD_COLUMNS: tuple[Column, ...] = tuple(
    column for column in COLUMNS if column.kind not in (Kind.IDENTIFIER, Kind.LABEL)
)
"""The 47 columns that describe a stay: the input of a prediction."""
