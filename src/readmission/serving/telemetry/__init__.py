"""Metrics, traces, logs and ids of the API."""
