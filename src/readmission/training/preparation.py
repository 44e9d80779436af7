"""Prepare a cumulative set for fitting: read it, fit the encoder on the training rows only, encode, save as arrays.

The arrays are saved to files, so that processes that fit different estimators on the same set map one copy.
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
from readmission.features.rates import draw_rates, encode_training, rate_positions, with_rates
from readmission.schema import LABEL_COLUMN, LABELS, PATIENT_NBR
from readmission.services import Services
from readmission.training.folds import draw_folds
from readmission.warehouse.clean import read_clean
from readmission.warehouse.connection import connect

RATE_FOLDS = 5
"""Folds for the rates of training rows; the more folds, the closer these rates are to those of other rows."""

MAX_DRAWS = 6
"""Number of draws of these folds, each with its own rates (``fitting.fit_rows``)."""

MIN_DRAWS = 2
DRAWN_ROWS = 500_000
"""Limit of rows times draws: large sets have fewer draws, since their rates hardly depend on the folds."""


@dataclass(frozen=True, slots=True)
class Redrawn:
    """The rates of training rows for further draws of the folds.

    Attributes:
        columns: indices of the matrix columns that hold rates, shape (rates,).
        rates: float32, shape (further draws, n, rates).
    """

    columns: npt.NDArray[np.intp]
    rates: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Arrays:
    """One split as arrays.

    Attributes:
        matrix: float32, shape (n, features).
        labels: index into LABELS, shape (n,).
        groups: number of the patient, from 0, shape (n,); keeps patients together, never a feature.
        redrawn: of training rows, the rates from other draws of the folds.
    """

    matrix: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int8]
    groups: npt.NDArray[np.int32]
    redrawn: Redrawn | None = None


@dataclass(frozen=True, slots=True)
class PreparedSet:
    """A cumulative set on disk.

    Attributes:
        folder: holds the arrays of the splits ``train`` and ``validation``.
        encoder_json: the encoder fitted on ``train``.
        rows: training rows.
        digest: of the training arrays, 32 hexadecimal digits.
    """

    folder: Path
    encoder_json: str
    rows: int
    digest: str

    @property
    def encoder(self) -> Encoder:
        """The fitted encoder."""
        return Encoder.model_validate_json(self.encoder_json)

    def load(self, split: str) -> Arrays:
        """Map the arrays of ``train`` or ``validation`` into memory."""
        return Arrays(
            np.load(self.folder / f"{split}_matrix.npy", mmap_mode="r"),
            np.load(self.folder / f"{split}_labels.npy"),
            np.load(self.folder / f"{split}_groups.npy"),
            self._load_redrawn(split),
        )

    def _load_redrawn(self, split: str) -> Redrawn | None:
        columns = self.folder / f"{split}_rate_columns.npy"
        if not columns.is_file():
            return None
        return Redrawn(np.load(columns), np.load(self.folder / f"{split}_rates.npy", mmap_mode="r"))


def prepare_set(services: Services, view: str, folder: Path) -> PreparedSet:
    """Read a cumulative view and the validation split, and save both as arrays.

    Args:
        services: where the clean database is.
        view: name of the cumulative view.
        folder: created for the arrays.
    """
    with connect(services.clean_url) as clean:
        train = read_clean(clean, view)
        validation = read_clean(clean, "validation_clean")
    encoder, arrays = encode_set(train)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    save_arrays(folder, "train", arrays)
    save_arrays(folder, "validation", to_arrays(encoder, validation))
    return PreparedSet(folder, encoder.model_dump_json(), train.num_rows, digest(arrays))


def encode_set(train: pa.Table) -> tuple[Encoder, Arrays]:
    """Fit the encoder of a training set and encode the set, with rates cross-fitted over patients.

    Args:
        train: clean training rows, from ``read_clean``.
    """
    labels, groups = label_codes(train), _number_patients(train)
    encoder = with_rates(fit_encoder(train), train, labels)
    draws = [draw_folds(groups, RATE_FOLDS, seed) for seed in range(1, count_draws(len(labels)) + 1)]
    matrix = encode_training(encoder, train, labels, draws[0])
    rates = np.stack([draw_rates(encoder, train, labels, folds) for folds in draws[1:]])
    return encoder, Arrays(matrix, labels, groups, Redrawn(rate_positions(encoder), rates))


def count_draws(n_rows: int) -> int:
    """Number of draws of the rates for a number of training rows."""
    return max(MIN_DRAWS, min(MAX_DRAWS, DRAWN_ROWS // max(n_rows, 1)))


def to_arrays(encoder: Encoder, clean: pa.Table) -> Arrays:
    """Encode features and labels of clean rows that the encoder was not fitted on, and number their patients."""
    return Arrays(encode_columns(encoder, clean), label_codes(clean), _number_patients(clean))


def _number_patients(clean: pa.Table) -> npt.NDArray[np.int32]:
    _, groups = np.unique(clean.column(PATIENT_NBR).to_numpy(), return_inverse=True)
    return groups.astype(np.int32)


def label_codes(clean: pa.Table) -> npt.NDArray[np.int8]:
    """Index into LABELS of each row; shape (n,)."""
    column = clean.column(LABEL_COLUMN).cast(pa.string())
    codes: npt.NDArray[np.int8] = pc.index_in(column, pa.array(LABELS)).to_numpy().astype(np.int8)
    return codes


def save_arrays(folder: Path, split: str, arrays: Arrays) -> None:
    """Save the arrays of a split for ``PreparedSet.load``."""
    np.save(folder / f"{split}_matrix.npy", arrays.matrix)
    np.save(folder / f"{split}_labels.npy", arrays.labels)
    np.save(folder / f"{split}_groups.npy", arrays.groups)
    if arrays.redrawn is not None:
        np.save(folder / f"{split}_rate_columns.npy", arrays.redrawn.columns)
        np.save(folder / f"{split}_rates.npy", arrays.redrawn.rates)


def digest(arrays: Arrays) -> str:
    """Digest of a set's features and labels: 32 hexadecimal digits."""
    found = hashlib.blake2b(arrays.matrix.data, digest_size=16)
    found.update(arrays.labels.data)
    return found.hexdigest()
