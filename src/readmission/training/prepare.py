"""Make a cumulative set ready to fit: read, fit the encoder on the training rows only, encode, lay down as arrays.

The arrays go to files, so that the processes that fit different estimators on the same set map one copy.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from readmission.features.encoder import Encoder
from readmission.features.fit import encode_columns, fit_encoder
from readmission.schema import LABEL_COLUMN, LABELS
from readmission.services import Services
from readmission.warehouse.clean import read_clean
from readmission.warehouse.connection import connect


@dataclass(frozen=True, slots=True)
class Arrays:
    """One part as numbers.

    Attributes:
        matrix: float32, shape (n, features).
        labels: position in LABELS, shape (n,).
    """

    matrix: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class PreparedSet:
    """A cumulative set on disk.

    Attributes:
        folder: holds the arrays of the parts ``train`` and ``validation``.
        encoder_json: the encoder fitted on ``train``.
        rows: training rows.
        digest: of the training rows' numbers and labels, 32 hexadecimal digits.
    """

    folder: Path
    encoder_json: str
    rows: int
    digest: str

    @property
    def encoder(self) -> Encoder:
        """The fitted encoder."""
        return Encoder.model_validate_json(self.encoder_json)

    def load(self, part: str) -> Arrays:
        """Map the arrays of ``train`` or ``validation`` into memory."""
        return Arrays(
            np.load(self.folder / f"{part}_matrix.npy", mmap_mode="r"), np.load(self.folder / f"{part}_labels.npy")
        )


def prepare_set(services: Services, view: str, folder: Path) -> PreparedSet:
    """Read a cumulative view and the validation part, and lay both down as arrays.

    Args:
        services: where the clean database is.
        view: name of the cumulative view.
        folder: made for the arrays.
    """
    with connect(services.clean_url) as clean:
        train = read_clean(clean, view)
        validation = read_clean(clean, "validation_clean")
    encoder = fit_encoder(train)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    arrays = to_arrays(encoder, train)
    _save(folder, "train", arrays)
    _save(folder, "validation", to_arrays(encoder, validation))
    return PreparedSet(folder, encoder.model_dump_json(), train.num_rows, _digest(arrays))


def to_arrays(encoder: Encoder, clean: pa.Table) -> Arrays:
    """Encode the features and the label of clean rows."""
    return Arrays(encode_columns(encoder, clean), label_codes(clean))


def label_codes(clean: pa.Table) -> npt.NDArray[np.int8]:
    """Position in LABELS of each row; shape (n,)."""
    column = clean.column(LABEL_COLUMN).cast(pa.string())
    codes: npt.NDArray[np.int8] = pc.index_in(column, pa.array(LABELS)).to_numpy().astype(np.int8)
    return codes


def _save(folder: Path, part: str, arrays: Arrays) -> None:
    np.save(folder / f"{part}_matrix.npy", arrays.matrix)
    np.save(folder / f"{part}_labels.npy", arrays.labels)


def _digest(arrays: Arrays) -> str:
    digest = hashlib.blake2b(arrays.matrix.data, digest_size=16)
    digest.update(arrays.labels.data)
    return digest.hexdigest()
