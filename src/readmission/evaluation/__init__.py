"""Model evaluation: metrics with intervals, slices, learning curves, importance, selection, promotion gate, card."""
