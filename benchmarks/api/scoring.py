"""Compare ``readmission score`` on the whole file with ONNX Runtime alone on the same rows; both on one core."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from benchmarks.api.machine import ONE_THREAD, pinned
from benchmarks.api.records import first_lines
from benchmarks.api.site import Site
from benchmarks.pipeline import say
from readmission.features.columns import clean_columns
from readmission.features.encoder import Encoder
from readmission.features.fit import encode_columns
from readmission.local.process import child_environment
from readmission.model_bundle import files as bundle
from readmission.schema import COLUMN_NAMES
from readmission.settings import PREFIX

ROUNDS = 3


def score_ratio(site: Site) -> dict:
    """Seconds of scoring without the start, which is measured with a file of one row."""
    say("scoring the whole file")
    one_row = site.folder / "one.csv"
    one_row.write_bytes(first_lines(site.csv, 1))
    matrix = _matrix(site, site.folder / "matrix.npy")
    totals, starts, bares = [], [], []
    for _ in range(ROUNDS):
        totals.append(_score(site, site.csv))
        starts.append(_score(site, one_row))
        bares.append(_bare(site, matrix))
    total, start, bare = map(statistics.median, (totals, starts, bares))
    return {
        "score_ratio": round((total - start) / bare, 2),
        "score_s": round(total - start, 2),
        "score_total_s": round(total, 2),
        "bare_onnx_s": round(bare, 2),
    }


def _score(site: Site, source: Path) -> float:
    command = [sys.executable, "-m", "readmission", "score", str(source), "-o", str(site.folder / "scored.csv")]
    started = time.perf_counter()
    _run(site, command, **site.environment())
    return time.perf_counter() - started


def _bare(site: Site, matrix: Path) -> float:
    command = [sys.executable, "-m", "benchmarks.api.bare_onnx", str(site.bundle / bundle.MODEL_FILE), str(matrix)]
    return float(_run(site, command))


def _run(site: Site, command: list[str], **variables: str) -> str:
    environment = child_environment(without=(PREFIX,), **ONE_THREAD, **variables)
    outcome = subprocess.run(
        pinned([site.cores.server], command), env=environment, capture_output=True, text=True, check=False
    )
    if outcome.returncode:
        sys.exit(f"{' '.join(command[1:4])} failed: {outcome.stderr[-1000:]}")
    return outcome.stdout


def _matrix(site: Site, path: Path) -> Path:
    """Encode the file for the model."""
    encoder = Encoder.model_validate_json((site.bundle / bundle.ENCODER_FILE).read_text())
    options = pacsv.ConvertOptions(column_types=dict.fromkeys(COLUMN_NAMES, pa.string()), strings_can_be_null=False)
    raw = pacsv.read_csv(site.csv, convert_options=options)
    np.save(path, encode_columns(encoder, clean_columns(raw)))
    return path
