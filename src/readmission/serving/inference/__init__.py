"""From records to predictions, without HTTP: loaded models, validation, scoring, explanations."""
