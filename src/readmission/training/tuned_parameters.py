"""Parameters of ``tuned_boosting`` in a file: what ``readmission tune`` writes and the pipeline reads."""

import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from readmission.errors import BadInputError
from readmission.training.estimators import TUNED_PARAMS


class TunedParams(BaseModel):
    """The file that a search leaves and the pipeline reads.

    Attributes:
        params: of LightGBM.
        log_loss: out of fold; that of the present default beside it.
        default_log_loss: of ``estimators.TUNED_PARAMS`` on the same folds.
        trials: how many were tried.
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
    """Read the parameters that a search left; without a file the project's own.

    Raises:
        BadInputError: the file is missing or is no such file.
    """
    if path is None:
        return TUNED_PARAMS
    try:
        return TunedParams.model_validate(json.loads(path.read_text())).params
    except OSError as error:
        raise BadInputError(f"READMISSION_TUNING: {path}: {error.strerror}; `readmission tune` writes it") from None
    except ValueError:  # pydantic's is one too
        raise BadInputError(f"READMISSION_TUNING: {path} is no file of `readmission tune`") from None
