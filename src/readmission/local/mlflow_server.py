"""MLflow's tracking server and registry as one child process."""

import signal

import httpx

from readmission.local import http_probe
from readmission.local.ports import LOOPBACK
from readmission.local.process import Child, Program, child_environment, package_path, serve_command
from readmission.local.s3 import MLFLOW_BUCKET, REGION
from readmission.settings import Settings

NAME = "mlflow"

_PROBE_SECONDS = 30.0
_GRACE_SECONDS = 3


class MlflowServer:
    """MLflow, with metadata in PostgreSQL and artifacts in S3 through the server, so that clients need no S3 key."""

    name = NAME
    title = "MLflow"

    def __init__(self, settings: Settings, credentials: dict[str, str]) -> None:
        self._settings = settings
        self._credentials = credentials

    def ports(self) -> list[tuple[int, str]]:
        """Ports that it needs, with their settings."""
        return [(self._settings.mlflow_port, "READMISSION_MLFLOW_PORT")]

    def program(self) -> Program:
        """How to run the server.

        It runs the application of ``mlflow server`` without that command's process manager: one process, which starts
        in half the time. The variables are those that the command passes to its workers
        (``mlflow.server.constants``, MLflow 3.17).
        """
        return Program(
            name=self.name,
            command=serve_command("readmission.local.mlflow_app:app", self._settings.mlflow_port, _GRACE_SECONDS),
            environment=child_environment(
                without=("AWS_", "MLFLOW_", "_MLFLOW_"), **package_path(), **self._variables()
            ),
            folder=self._settings.home.absolute(),
            # It has no state of its own, so it may end at once when its parent ends.
            death_signal=signal.SIGKILL,
        )

    def is_ready(self, child: Child) -> bool:
        """Whether this child answers from its database."""
        if not child.listens_on(self._settings.mlflow_port):
            return False
        url = f"http://{LOOPBACK}:{self._settings.mlflow_port}/api/2.0/mlflow/experiments/search?max_results=1"
        try:
            return http_probe.get(url, _PROBE_SECONDS).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def provision(self) -> None:
        """Nothing to create."""

    def may_retry(self, _log_line: str) -> bool:
        """Whether it ended for a temporary reason: never."""
        return False

    def _variables(self) -> dict[str, str]:
        settings, credentials = self._settings, self._credentials
        password = credentials["mlflow_user"]
        return {
            "_MLFLOW_SERVER_FILE_STORE": (
                f"postgresql+psycopg2://mlflow_user:{password}@{LOOPBACK}:{settings.postgres_port}/mlflow_db"
            ),
            "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
            "_MLFLOW_SERVER_ARTIFACT_DESTINATION": f"s3://{MLFLOW_BUCKET}",
            "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
            # Otherwise it starts ten processes, for features that are not used here.
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_S3_ENDPOINT_URL": f"http://{LOOPBACK}:{settings.s3_port}",
            "AWS_ACCESS_KEY_ID": credentials["s3_access_key"],
            "AWS_SECRET_ACCESS_KEY": credentials["s3_secret_key"],
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }
