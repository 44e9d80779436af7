"""The baselines run and measure what they say; their figures are not judged here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.memory import PeakMemory
from readmission.results import MODEL_TYPES


@pytest.mark.parametrize("boosting", ["ours", "sklearn"])
def test_the_bare_grid_trains_every_model(small_file: Path, boosting: str) -> None:
    command = [sys.executable, "-m", "benchmarks.bare_grid", str(small_file), "--batches", "2"]
    command += ["--workers", "2", "--threads", "1", "--boosting", boosting]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert outcome.returncode == 0, outcome.stderr
    result = json.loads(outcome.stdout.splitlines()[-1])
    assert result["models"] == 2 * len(MODEL_TYPES)
    assert result["seconds"] > 0
    assert 0.3 < result["best_val_f1_score"] < 0.8


def test_peak_memory_sees_this_process() -> None:
    ballast = bytearray(os.urandom(1)) * (64 << 20)
    with PeakMemory(os.getpid(), every=0.01) as memory:
        while not memory.peak:
            pass
    assert memory.peak > len(ballast) >> 20


def test_a_process_that_is_gone_counts_nothing() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with PeakMemory(gone.pid, every=0.01) as memory:
        pass
    assert memory.peak == 0
