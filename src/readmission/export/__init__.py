"""A fitted model as files: ONNX with its parity proof, explanation, reference statistics, signature, artifacts."""
