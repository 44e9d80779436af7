"""The columns of a file that splitting needs: encounter, patient and outcome."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from readmission.schema import ENCOUNTER_ID, LABEL_COLUMN, LABELS, PATIENT_NBR

_TYPES = {ENCOUNTER_ID: pa.int64(), PATIENT_NBR: pa.int64(), LABEL_COLUMN: pa.string()}


@dataclass(frozen=True, slots=True)
class Keys:
    """One entry per row, in the order of the file.

    Attributes:
        encounter_id: shape (n,).
        patient_nbr: shape (n,).
        labels: index into LABELS, shape (n,).
    """

    encounter_id: npt.NDArray[np.int64]
    patient_nbr: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int8]


def read_keys(path: Path) -> Keys:
    """Read the keys of a verified file, streaming."""
    convert = pacsv.ConvertOptions(include_columns=list(_TYPES), column_types=_TYPES, strings_can_be_null=False)
    batches = [_keys(batch) for batch in pacsv.open_csv(path, convert_options=convert)]
    return Keys(
        np.concatenate([keys.encounter_id for keys in batches]),
        np.concatenate([keys.patient_nbr for keys in batches]),
        np.concatenate([keys.labels for keys in batches]),
    )


def _keys(batch: pa.RecordBatch) -> Keys:
    codes = pc.index_in(batch.column(LABEL_COLUMN), value_set=pa.array(LABELS))
    return Keys(
        batch.column(ENCOUNTER_ID).to_numpy(),
        batch.column(PATIENT_NBR).to_numpy(),
        codes.to_numpy(zero_copy_only=False).astype(np.int8),
    )
