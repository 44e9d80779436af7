"""Export a fitted model to files: ONNX with a parity check, explanation, reference statistics, signature, artifacts."""
