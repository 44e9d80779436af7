"""Synthetic records: aggregate tables of the real file, and records sampled from them."""
