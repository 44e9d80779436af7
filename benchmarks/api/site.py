"""The setup that all parts share: a stack with a model in production, records, and the model for other servers."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import mlflow.artifacts
import mlflow.sklearn

from benchmarks.api.export import export
from benchmarks.api.machine import Cores, pinned
from benchmarks.api.records import diagnoses, draw_records
from benchmarks.api.servers import Record, Service
from benchmarks.pipeline import PORTS, free_ports, say
from readmission.dataset.acquire import acquire, open_dataset
from readmission.dataset.source_file import silent
from readmission.local.api_server import settings_environment
from readmission.local.ports import LOOPBACK
from readmission.local.process import child_environment
from readmission.local.stack import LocalStack
from readmission.registry.client import make_client
from readmission.registry.versions import production_version
from readmission.services import resolve_services
from readmission.settings import PREFIX, Settings, load_settings

RECORDS = 2_000
_PORTS = 40


@dataclass(frozen=True)
class Site:
    """The setup.

    Attributes:
        folder: for files of the parts.
        cores: of server and load.
        settings: of the running stack.
        ports: free ports.
        csv: the real file.
        bundle: files of the version in production.
        model: the same model for ``pandas_model``.
        records: distinct records.
    """

    folder: Path
    cores: Cores
    settings: Settings
    ports: Iterator[int]
    csv: Path
    bundle: Path
    model: Path
    records: list[Record]

    def environment(self, **changes: object) -> dict[str, str]:
        """The environment variables of this stack for the project's programs."""
        return settings_environment(self.settings.model_copy(update=changes))

    def api(self, **changes: object) -> Service:
        """The API as ``readmission serve`` runs it: prediction log, metrics and access log on."""
        port = next(self.ports)
        command = (sys.executable, "-P", "-m", "readmission", "serve", "--host", LOOPBACK, "--port", str(port))
        return Service("readmission", command, port, environment=self.environment(**changes))


@contextmanager
def open_site(cores: Cores) -> Iterator[Site]:
    """Start a new stack, train and publish boosted trees on the real file, and prepare the rest."""
    with tempfile.TemporaryDirectory(prefix="bench-api-") as name:
        folder = Path(name)
        ports = iter(free_ports(_PORTS))
        settings = load_settings(home=folder / "home", **{port: next(ports) for port in PORTS})
        with LocalStack(settings, say):
            dataset = acquire(settings, resolve_services(settings), None, silent)
            csv = open_dataset(settings, resolve_services(settings), dataset)
            say("training and publishing boosted trees on the real file")
            _train(settings, cores, csv)
            bundle = _download(settings, folder / "bundle")
            model = folder / "model"
            export(mlflow.sklearn.load_model(str(bundle)), diagnoses(csv), model)
            yield Site(folder, cores, settings, ports, csv, bundle, model, draw_records(csv, RECORDS))


def _train(settings: Settings, cores: Cores, csv: Path) -> None:
    command = [sys.executable, "-m", "readmission", "pipeline", "run"]
    command += ["--data", str(csv), "--batches", "1", "--models", "gradient_boosting"]
    environment = child_environment(without=(PREFIX,), **settings_environment(settings))
    outcome = subprocess.run(
        pinned([cores.server, cores.load], command), env=environment, capture_output=True, text=True, check=False
    )
    if outcome.returncode:
        sys.exit(f"the pipeline failed: {outcome.stderr[-2000:]}")


def _download(settings: Settings, folder: Path) -> Path:
    services = resolve_services(settings)
    client = make_client(services)
    version = production_version(client, settings.model_name)
    if version is None:
        sys.exit("the pipeline published nothing")
    source = client.get_model_version(settings.model_name, version).source
    folder.mkdir()
    return Path(mlflow.artifacts.download_artifacts(source, dst_path=str(folder), tracking_uri=services.mlflow_url))
