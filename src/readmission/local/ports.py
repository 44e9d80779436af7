"""Whether the local stack's ports are free."""

import errno
import os
import socket
from collections.abc import Iterable, Mapping

from readmission.errors import BadInputError, ServiceDownError

LOOPBACK = "127.0.0.1"

_HIGHEST = 65535


def bind_error(port: int) -> int:
    """The error number of listening on this loopback port; 0 if it is free."""
    with socket.socket() as candidate:
        # As servers do: connections of an earlier run in TIME_WAIT do not matter.
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind((LOOPBACK, port))
        except OSError as error:
            return error.errno or errno.EINVAL
    return 0


def settings_by_port(ports: Iterable[tuple[int, str]]) -> dict[int, str]:
    """Collect the ports of services, with the setting of each.

    Raises:
        BadInputError: two settings need the same port.
    """
    found: dict[int, str] = {}
    for port, setting in ports:
        if found.setdefault(port, setting) != setting:
            raise BadInputError(f"{found[port]} and {setting} both take port {port}: set one of them to another port")
    return found


def check_ports(ports: Mapping[int, str]) -> None:
    """Refuse ports that cannot be bound.

    Args:
        ports: the setting of each port, such as ``{8002: "READMISSION_MLFLOW_PORT"}``.

    Raises:
        BadInputError: a port that does not exist.
        ServiceDownError: a port is in use or forbidden; names the first one and its setting.
    """
    for port, setting in ports.items():
        if port > _HIGHEST:
            raise BadInputError(f"{setting} makes the stack use port {port}: set it to a lower one")
        if code := bind_error(port):
            reason = "is taken by another program" if code == errno.EADDRINUSE else f"is barred ({os.strerror(code)})"
            raise ServiceDownError(f"Port {port} {reason}: stop it or set {setting} to a free one")
