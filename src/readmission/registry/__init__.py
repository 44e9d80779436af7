"""MLflow: tracking, the ONNX export with its parity proof, and publishing to the model registry."""
