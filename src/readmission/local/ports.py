"""Whether the local stack's ports are free."""

import errno
import os
import socket
from collections.abc import Iterable, Mapping

from readmission.errors import BadInputError, ServiceDownError

LOOPBACK = "127.0.0.1"

_HIGHEST = 65535


def bind_error(port: int) -> int:
    """The error number of listening on this loopback port now; 0 if a server could."""
    with socket.socket() as candidate:
        # As servers do it: connections of an earlier run that linger in TIME_WAIT are no obstacle.
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind((LOOPBACK, port))
        except OSError as error:
            return error.errno or errno.EINVAL
    return 0


def settings_by_port(ports: Iterable[tuple[int, str]]) -> dict[int, str]:
    """Gather ports with the setting that moves each.

    Raises:
        BadInputError: two settings lead to the same port.
    """
    found: dict[int, str] = {}
    for port, setting in ports:
        if found.setdefault(port, setting) != setting:
            raise BadInputError(f"{found[port]} and {setting} both take port {port}: set one of them to another port")
    return found


def check_ports(ports: Mapping[int, str]) -> None:
    """Refuse ports that cannot be bound.

    Args:
        ports: the setting that moves each port, such as ``{8002: "READMISSION_MLFLOW_PORT"}``.

    Raises:
        BadInputError: a port that does not exist.
        ServiceDownError: the first port that is taken or forbidden, with its setting.
    """
    for port, setting in ports.items():
        if port > _HIGHEST:
            raise BadInputError(f"{setting} makes the stack use port {port}: set it to a lower one")
        if code := bind_error(port):
            reason = "is taken by another program" if code == errno.EADDRINUSE else f"is barred ({os.strerror(code)})"
            raise ServiceDownError(f"Port {port} {reason}: stop it or set {setting} to a free one")
