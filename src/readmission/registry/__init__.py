"""MLflow: tracking, publishing to the model registry, promotion."""

import os

# MLflow reads these from the environment only, some of them when it is imported. With its defaults it retries for
# minutes before it reports that the server does not answer.
_CLIENT_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
for _name, _value in _CLIENT_SETTINGS.items():
    os.environ.setdefault(_name, _value)
