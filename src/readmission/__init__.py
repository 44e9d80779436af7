"""Predict the hospital readmission of diabetes patients: from raw records to a served, monitored model."""

__version__ = "0.1.0"
