"""Description of one verified data file, small enough to pass between tasks."""

from collections.abc import Callable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from readmission.schema import CSV_SHA256

Report = Callable[[str, int, int], None]
"""Called with the progress: what is being done, how much is done, and the total (bytes or rows; 0 if unknown)."""


def silent(what: str, done: int, total: int) -> None:
    """A Report that does nothing."""


class Dataset(BaseModel):
    """One verified CSV file in the format of ``schema.COLUMNS``.

    Attributes:
        source: as shown in messages: ``uci:296``, ``file:NAME``, ``url:https://...`` (no login, no query),
            ``gdrive:ID``, ``s3://bucket/key`` or ``synthetic:ROWS``.
        kind: records of real stays, or synthetic ones.
        sha256: of the CSV itself, not of an archive around it.
        rows: encounters; the header is not counted.
        key: where the file is in the bucket of the data files.
        fallback: why synthetic records replace the default source; empty if they do not.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    kind: Literal["real", "synthetic"]
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    rows: int = Field(ge=1)
    key: str
    fallback: str = ""

    @property
    def published(self) -> bool:
        """Whether this is the published file, byte for byte."""
        return self.sha256 == CSV_SHA256


def object_key(sha256: str) -> str:
    """The S3 key of the CSV with this digest."""
    return f"data/{sha256}.csv"
