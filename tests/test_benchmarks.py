"""The baselines run and measure what they say; their figures are not judged here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.choices import AS_IT_IS, FEATURES, FIGURES, compare, judge
from benchmarks.memory import PeakMemory
from benchmarks.quality import Source, load
from readmission.results import MODEL_TYPES


@pytest.mark.parametrize(("boosting", "batches"), [("ours", 2), ("sklearn", 1)])
def test_the_bare_grid_trains_every_model(small_file: Path, tmp_path: Path, boosting: str, batches: int) -> None:
    few = tmp_path / "few.csv"
    few.write_text("".join(small_file.read_text().splitlines(keepends=True)[:1201]))
    command = [sys.executable, "-m", "benchmarks.bare_grid", str(few), "--batches", str(batches)]
    command += ["--workers", "2", "--threads", "1", "--boosting", boosting]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert outcome.returncode == 0, outcome.stderr
    result = json.loads(outcome.stdout.splitlines()[-1])
    assert result["models"] == batches * len(MODEL_TYPES)
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


@pytest.fixture(scope="module")
def source(small_file: Path) -> Source:
    return load(small_file)


def test_every_other_choice_of_features_gives_another_model(source: Source) -> None:
    names = [AS_IT_IS, *(choice.name for choice in FEATURES)]
    losses = {name: judge(source, 1, "gradient_boosting", name)[0] for name in names}
    assert len(set(losses.values())) == len(losses), losses
    assert all(0.3 < loss < 2 for loss in losses.values())


def test_choices_are_compared_on_the_same_seed() -> None:
    usual = np.array([[0.9, 0.6, 0.5, 0.4], [0.8, 0.7, 0.6, 0.5]])
    table = compare({AS_IT_IS: usual, "other": usual + np.array([[-0.1, 0, 0, 0], [0.2, 0, 0, 0.1]])})
    assert [table[AS_IT_IS][figure] for figure in FIGURES] == [0.85, 0.65, 0.55, 0.45]
    assert [table["other"][figure] for figure in FIGURES] == [0.05, 0.0, 0.0, 0.05]
    assert (table[AS_IT_IS]["better_on"], table["other"]["better_on"]) == (0, 1)
