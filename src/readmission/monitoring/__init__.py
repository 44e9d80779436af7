"""How a model does for whom, and whether it still does."""
