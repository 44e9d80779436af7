"""What is kept of predictions and their outcomes, and how it reaches PostgreSQL."""
