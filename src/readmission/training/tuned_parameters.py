"""The file of parameters of ``tuned_boosting`` that ``readmission tune`` writes and the pipeline reads."""

import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from readmission.errors import BadInputError
from readmission.training.estimators import TUNED_PARAMS


class TunedParams(BaseModel):
    """The content of the file.

    Attributes:
        params: of LightGBM.
        log_loss: out of fold.
        default_log_loss: of the default parameters, ``estimators.TUNED_PARAMS``, on the same folds.
        trials: number of sets of parameters that were tried.
        rows: training rows of the search.
        digest: of the training rows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    params: dict[str, float | int]
    log_loss: float
    default_log_loss: float
    trials: int
    rows: int
    digest: str


def write_params(found: TunedParams, path: Path) -> None:
    """Write the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(found.model_dump_json(indent=2) + "\n")


def read_params(path: Path | None) -> Mapping[str, float | int]:
    """Read the file of a search.

    Raises:
        BadInputError: the file is missing, or was not written by ``readmission tune``.
    """
    if path is None:
        return TUNED_PARAMS
    try:
        return TunedParams.model_validate(json.loads(path.read_text())).params
    except OSError as error:
        raise BadInputError(f"READMISSION_TUNING: {path}: {error.strerror}; `readmission tune` writes it") from None
    except ValueError:  # includes pydantic's ValidationError
        raise BadInputError(f"READMISSION_TUNING: {path} is no file of `readmission tune`") from None
