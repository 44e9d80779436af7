"""Obtain the data file from its source, verify it, cache it, and upload it to S3."""

import errno
import functools
import shutil
from pathlib import Path
from typing import Literal

import readmission
from readmission.dataset.archive import extract_csv, is_zip
from readmission.dataset.cache import Cache, file_state, hash_file
from readmission.dataset.download import download
from readmission.dataset.objects import ObjectStore
from readmission.dataset.source_file import Dataset, Report, object_key
from readmission.dataset.sources import Scheme, Source, parse_source
from readmission.dataset.synthetic.records import write_synthetic
from readmission.dataset.verify import verify
from readmission.errors import BadInputError, ServiceDownError
from readmission.schema import CSV_SHA256
from readmission.services import Services
from readmission.settings import Settings

FALLBACK_SOURCE = "synthetic:101766"
"""Used where the default source cannot be reached: as many synthetic records as the published file has."""

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class DefaultSourceDownError(ServiceDownError):
    """The default source cannot be reached: the only error after which synthetic records are used instead."""


def acquire(settings: Settings, services: Services, source: str | None, report: Report) -> Dataset:
    """Obtain one data file, verify it, cache it and upload it to S3; a cached file is not obtained again.

    Args:
        settings: ``home`` holds the cache; ``data`` is the source, ``data_sha256`` the expected digest.
        services: the S3 endpoint of the data files, and of sources ``s3://bucket/key``.
        source: overrides ``settings.data``; if both are None, the published file from UCI's archive.
        report: called with the progress.

    Raises:
        BadInputError: the source or its content is wrong; cache and S3 are unchanged.
        ServiceDownError: the source or S3 does not answer.
    """
    wanted = parse_source(settings.data if source is None else source)
    store = ObjectStore(services)
    dataset = _obtain(settings, store, wanted, report)
    _upload(settings, store, dataset, report)
    return dataset


def acquire_or_synthetic(settings: Settings, services: Services, report: Report) -> Dataset:
    """Like ``acquire``, but use synthetic records if the default source cannot be reached.

    Returns:
        The dataset; if synthetic records replace the default source, ``fallback`` says why.

    Raises:
        BadInputError, ServiceDownError: as ``acquire``.
    """
    if settings.data is not None:
        return acquire(settings, services, None, report)
    store = ObjectStore(services)
    try:
        dataset = _obtain(settings, store, parse_source(None), report)
    except DefaultSourceDownError as error:
        if settings.data_sha256:
            raise
        synthetic = _obtain(settings, store, parse_source(FALLBACK_SOURCE), report)
        dataset = synthetic.model_copy(update={"fallback": str(error)})
    _upload(settings, store, dataset, report)
    return dataset


def open_dataset(settings: Settings, services: Services, dataset: Dataset) -> Path:
    """The local path of a dataset's file, which is downloaded from S3 if it is not in the cache.

    Raises:
        BadInputError: S3 does not have it, or has other content under its key.
        ServiceDownError: S3 does not answer.
    """
    cache = Cache(settings.home)
    return cache.path(dataset.sha256) or _fetch(cache, ObjectStore(services), dataset.sha256)


def _fetch(cache: Cache, store: ObjectStore, sha256: str) -> Path:
    with cache.staging() as folder:
        staged = folder / "fetched.csv"
        store.get(object_key(sha256), staged)
        found = hash_file(staged)
        if found != sha256:
            raise BadInputError(
                f"s3://{store.bucket}/{object_key(sha256)} at {store.url} has SHA-256 {found}; delete it and run "
                "`readmission pipeline download` again"
            )
        return cache.add(staged, sha256)


def _obtain(settings: Settings, store: ObjectStore, source: Source, report: Report) -> Dataset:
    """The verified dataset of a source, in the cache."""
    cache = Cache(settings.home)
    state = _state(source, store)
    expected = settings.data_sha256 or (CSV_SHA256 if _is_default(source) else None)
    dataset = cache.find(source.key, state)
    if dataset is None or (expected and dataset.sha256 != expected):
        dataset = _find_default(cache, store, source, expected) or _read(cache, store, source, expected, report)
        cache.record(source.key, state, dataset)
    return dataset


def _is_default(source: Source) -> bool:
    return source == parse_source(None)


def _state(source: Source, store: ObjectStore) -> str:
    """A value that changes when the source changes; the content of a web address is assumed constant."""
    if source.scheme is Scheme.FILE:
        return file_state(_require_file(source))
    if source.scheme is Scheme.S3:
        bucket, key = _bucket_and_key(source)
        return store.at(bucket).etag(key) or ""
    return readmission.__version__ if source.scheme is Scheme.SYNTHETIC else ""


def _require_file(source: Source) -> Path:
    path = Path(source.location)
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except OSError as error:  # no permission for a parent folder, or too long a name
        raise BadInputError(f"{source.location}: cannot be read ({error.strerror})") from None
    if is_folder:
        raise BadInputError(f"{source.location}: this is a folder; give a CSV or zip file")
    if not is_file:
        raise BadInputError(f"{source.location}: no such file; check the path or READMISSION_DATA")
    return path


def _bucket_and_key(source: Source) -> tuple[str, str]:
    bucket, _, key = source.location.partition("/")
    return bucket, key


def _find_default(cache: Cache, store: ObjectStore, source: Source, expected: str | None) -> Dataset | None:
    """The default source's file, found by its known digest, if the cache or S3 has it already."""
    if not _is_default(source) or expected is None:
        return None
    path = cache.path(expected)
    if path is None:
        if not store.exists(object_key(expected)):
            return None
        path = _fetch(cache, store, expected)
    return _describe(source, expected, cache.rows(expected) or verify(path, source.name))


def _describe(source: Source, sha256: str, rows: int) -> Dataset:
    kind: Literal["real", "synthetic"] = "synthetic" if source.scheme is Scheme.SYNTHETIC else "real"
    return Dataset(source=source.label, kind=kind, sha256=sha256, rows=rows, key=object_key(sha256))


def _read(cache: Cache, store: ObjectStore, source: Source, expected: str | None, report: Report) -> Dataset:
    with cache.staging() as folder:
        csv = _stage(source, store, folder, report)
        sha256 = hash_file(csv)
        rows = cache.rows(sha256) or verify(csv, source.name, functools.partial(_report_rows, report))
        if expected and sha256 != expected:
            raise BadInputError(f"{source.name}: the CSV has SHA-256 {sha256}, expected {expected}")
        cache.add(csv, sha256)
    return _describe(source, sha256, rows)


def _report_rows(report: Report, rows: int) -> None:
    report("verify", rows, 0)


def _stage(source: Source, store: ObjectStore, folder: Path, report: Report) -> Path:
    """Write the source's CSV into a folder, unpacked but not verified."""
    raw = folder / "raw"
    match source.scheme:
        case Scheme.SYNTHETIC:
            rows = int(source.location)
            write_synthetic(raw, rows, report=lambda done: report("generate", done, rows))
        case Scheme.FILE:
            _copy(source, raw)
        case Scheme.S3:
            bucket, key = _bucket_and_key(source)
            store.at(bucket).get(key, raw, report)
        case Scheme.WEB:
            _download(source, raw, report)
    if not is_zip(raw):
        return raw
    extract_csv(raw, folder / "extracted.csv", source.name, report)
    return folder / "extracted.csv"


def _copy(source: Source, path: Path) -> None:
    try:
        shutil.copyfile(source.location, path)
    except OSError as error:
        if error.errno in _DISK_FULL:  # writing failed, not reading the source
            raise
        raise BadInputError(f"{source.location}: cannot be read ({error.strerror})") from None


def _download(source: Source, path: Path, report: Report) -> None:
    try:
        download(source.location, path, source.label, report)
    except (BadInputError, ServiceDownError) as error:
        if _is_default(source):
            # The user did not give this address and cannot correct it, whether the archive is down or has moved.
            raise DefaultSourceDownError(str(error)) from None
        raise


def _upload(settings: Settings, store: ObjectStore, dataset: Dataset, report: Report) -> None:
    path = Cache(settings.home).path(dataset.sha256)
    if path and not store.exists(dataset.key):
        store.put(path, dataset.key, report)
