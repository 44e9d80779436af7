"""The prediction API as a child process."""

import sys
from pathlib import Path

import httpx
from pydantic import SecretStr

from readmission.local import http_probe
from readmission.local.ports import LOOPBACK
from readmission.local.process import Child, Program, child_environment, package_path
from readmission.settings import PREFIX, Settings

NAME = "api"

_PROBE_SECONDS = 2.0


class ApiServer:
    """The API on one port of this machine."""

    name = NAME
    title = "API"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def ports(self) -> list[tuple[int, str]]:
        """Ports that it needs, with their settings."""
        return [(self._settings.api_port, "READMISSION_API_PORT")]

    def program(self) -> Program:
        """How to run the server."""
        variables = {**settings_environment(self._settings), **package_path()}
        return Program(
            name=self.name,
            command=(sys.executable, "-P", "-m", "readmission", "serve", "--host", LOOPBACK),
            environment=child_environment(without=(PREFIX,), **variables),
            # Relative paths in settings are relative to the folder of the parent process.
            folder=Path.cwd(),
        )

    def is_ready(self, child: Child) -> bool:
        """Whether this child answers ``/live``."""
        if not child.listens_on(self._settings.api_port):
            return False
        url = f"http://{LOOPBACK}:{self._settings.api_port}/live"
        try:
            return http_probe.get(url, _PROBE_SECONDS).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def provision(self) -> None:
        """Nothing to create."""

    def may_retry(self, _log_line: str) -> bool:
        """Whether it ended for a temporary reason: never."""
        return False


def settings_environment(settings: Settings) -> dict[str, str]:
    """Environment variables that give another process the same settings (with an absolute ``home``)."""
    values = {name: getattr(settings, name) for name in sorted(settings.model_fields_set | {"home"})}
    values["home"] = settings.home.absolute()
    return {PREFIX + name.upper(): _text(value) for name, value in values.items() if value is not None}


def _text(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)
