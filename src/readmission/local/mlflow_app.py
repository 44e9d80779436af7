"""MLflow's application, with its stores opened before the first request.

By default MLflow opens them, and creates the schema, when the first requests arrive. Two concurrent requests (the API
asks for its model, the stack asks whether the server is ready) then wait for each other's locks for ever.
"""

from mlflow.server.fastapi_app import app
from mlflow.server.handlers import initialize_backend_stores

initialize_backend_stores()

__all__ = ["app"]
