"""Run psql, logged in; the password is in the environment, so other users do not see it in the process list."""

import os
from collections.abc import Sequence
from typing import Any

from psycopg import conninfo

from readmission.local.postgres import binary
from readmission.services import resolve_services
from readmission.settings import Settings


def open_psql(settings: Settings, database: str, arguments: Sequence[str]) -> None:
    """Replace this process with psql.

    Args:
        settings: of the platform.
        database: ``raw``, ``clean`` or ``platform``.
        arguments: for psql.
    """
    services = resolve_services(settings)
    urls = {"raw": services.raw_url, "clean": services.clean_url, "platform": services.platform_url}
    parts: dict[str, Any] = dict(conninfo.conninfo_to_dict(urls[database].get_secret_value()))
    password = str(parts.pop("password", ""))
    program = str(binary("psql"))
    command = [program, conninfo.make_conninfo(**parts), *arguments]
    os.execve(program, command, {**os.environ, "PGPASSWORD": password})  # noqa: S606 - no shell is intended
