"""How good a model is: metrics with intervals, slices, learning curves, importance, selection, promotion gate, card."""
