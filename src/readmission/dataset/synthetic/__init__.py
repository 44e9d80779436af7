"""Synthetic records: aggregate tables of the real file, and records drawn from them."""
