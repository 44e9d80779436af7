"""What is known of one verified data file, small enough to travel between tasks."""

from collections.abc import Callable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from readmission.schema import CSV_SHA256

Report = Callable[[str, int, int], None]
"""Progress: what is being done, how much is done, how much there is (bytes or rows; 0 where it is not known)."""


def silent(what: str, done: int, total: int) -> None:
    """A Report that tells nobody."""


class Dataset(BaseModel):
    """One verified CSV file in the format of ``schema.COLUMNS``.

    Attributes:
        source: what people see: ``uci:296``, ``file:NAME``, ``url:https://...`` (no login, no query), ``gdrive:ID``,
            ``s3://bucket/key`` or ``synthetic:ROWS``.
        kind: records of real stays, or synthetic ones.
        sha256: of the CSV itself, not of an archive around it.
        rows: encounters; the header is not counted.
        key: where the file is in the bucket of the data files.
        fallback: why synthetic records took the place of the default source; empty where they did not.
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
