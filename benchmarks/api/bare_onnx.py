"""Lower bound of scoring: ONNX Runtime alone on encoded arrays, one thread. Prints seconds."""

import argparse
import time
from pathlib import Path

import numpy as np
import onnxruntime

from readmission.model_bundle import files as bundle

CHUNKS = (1_024, 4_096, 16_384, 1 << 30)
ROUNDS = 3


def main() -> None:
    """Score all rows in chunks of several sizes; return the fastest."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("matrix", type=Path)
    options = parser.parse_args()
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(options.model.read_bytes(), settings, providers=["CPUExecutionProvider"])
    matrix = np.load(options.matrix)
    print(min(_seconds(session, matrix, chunk) for chunk in CHUNKS for _ in range(ROUNDS)))


def _seconds(session: onnxruntime.InferenceSession, matrix: np.ndarray, chunk: int) -> float:
    parts = [matrix[start : start + chunk] for start in range(0, len(matrix), chunk)]
    started = time.perf_counter()
    for part in parts:
        session.run([bundle.ONNX_PROBABILITIES], {bundle.ONNX_INPUT: part})
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
