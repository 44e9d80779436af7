"""The estimators, fitting them on the cumulative sets, metrics and selection."""
