"""Training: estimators, fitting on cumulative sets, folds, decision rule, tuning."""
