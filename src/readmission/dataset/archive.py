"""Extract the data file from a zip archive."""

import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from readmission.dataset.source_file import Report
from readmission.errors import BadInputError
from readmission.schema import CSV_NAME

MAX_CSV_BYTES = 4 << 30
"""Members that would unpack to more are refused; twice the size of ten million encounters."""
CHUNK_BYTES = 1 << 20
ENCRYPTED = 0x1

_DAMAGED = "the zip file is damaged or incomplete; get it again"


def is_zip(path: Path) -> bool:
    """Whether the file starts like a zip archive; it may still be incomplete."""
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def extract_csv(archive: Path, target: Path, name: str, report: Report) -> None:
    """Write the archive's data file to ``target``: the member with the published name, else its only CSV.

    Args:
        archive: a zip file.
        target: a file to write; incomplete if this fails.
        name: of the archive in messages.
        report: called with the number of bytes.

    Raises:
        BadInputError: the archive is damaged, encrypted, holds no such file, or one of more than ``MAX_CSV_BYTES``.
    """
    with _plain_errors(name), zipfile.ZipFile(archive) as opened:
        member = _choose(opened, name)
        if member.flag_bits & ENCRYPTED:
            raise BadInputError(f"{name}: {_base(member)} is encrypted; give an archive without a password")
        if member.file_size > MAX_CSV_BYTES:
            raise BadInputError(f"{name}: {_base(member)} would unpack to more than {MAX_CSV_BYTES >> 20} MiB")
        _unpack(opened, member, target, report)


def _choose(opened: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    tables = [member for member in opened.infolist() if _is_table(member)]
    published = [member for member in tables if _base(member) == CSV_NAME]
    chosen = published or tables
    if len(chosen) != 1:
        raise BadInputError(f"{name}: holds {len(tables)} CSV files; expected one, or one called {CSV_NAME}")
    return chosen[0]


def _is_table(member: zipfile.ZipInfo) -> bool:
    # macOS adds a metadata file of the same name for each file.
    return member.filename.lower().endswith(".csv") and not member.filename.startswith("__MACOSX/")


def _base(member: zipfile.ZipInfo) -> str:
    return PurePosixPath(member.filename).name


def _unpack(opened: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, report: Report) -> None:
    """Extract a member; no more than its stated size is read, and its CRC is checked."""
    done = 0
    with opened.open(member) as source, target.open("wb") as file:
        while chunk := source.read(CHUNK_BYTES):
            file.write(chunk)
            done += len(chunk)
            report("unpack", done, member.file_size)


@contextmanager
def _plain_errors(name: str) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError):
        raise BadInputError(f"{name}: {_DAMAGED}") from None
    except OSError as error:
        if error.errno is not None:  # a disk error; the error of damaged bzip2 data has no number
            raise
        raise BadInputError(f"{name}: {_DAMAGED}") from None
    except NotImplementedError:
        raise BadInputError(f"{name}: compressed with a method that is not supported; use a plain zip file") from None
