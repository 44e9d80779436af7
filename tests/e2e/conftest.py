"""Every whole flow: commands that run in this process find the server of the training processes warm."""

import pytest


@pytest.fixture(autouse=True)
def warm_training_processes(training_server: None) -> None:
    """Loading MLflow and scikit-learn for each run again would take longer than the runs."""
