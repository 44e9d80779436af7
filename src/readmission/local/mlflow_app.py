"""MLflow's application with its stores opened before the first request.

Left to itself MLflow opens them, and makes the schema, when the first requests arrive. Two of them at once (the API
asks for its model, the owner asks whether the server is ready) then wait for each other's locks for ever.
"""

from mlflow.server.fastapi_app import app
from mlflow.server.handlers import initialize_backend_stores

initialize_backend_stores()

__all__ = ["app"]
