"""The real file, for benchmarks that read it directly."""

import os
import sys
import zipfile
from pathlib import Path

from readmission.schema import CSV_NAME


def real_file() -> Path:
    """The CSV of READMISSION_DATA, unpacked; exits with a one-line error if it is not set."""
    source = Path(os.environ.get("READMISSION_DATA", ""))
    if not source.is_file():
        sys.exit("Set READMISSION_DATA to the CSV or zip file of the real data")
    if source.suffix != ".zip":
        return source
    folder = Path(os.environ.get("READMISSION_HOME", ".readmission")) / "bench"
    with zipfile.ZipFile(source) as archive:
        member = next(name for name in archive.namelist() if Path(name).name == CSV_NAME)
        return Path(archive.extract(member, folder))
