"""Ports for servers of tests: no two tests get the same one, in whatever process or session they run."""

import socket

FIRST, LAST = 11_000, 22_000
"""Both ends, raised by the offset too, lie below 32,768, where the kernel's ports for clients begin."""

INNER_OFFSET = 10_000
"""The S3 server listens on a partner of each of its ports, so much higher."""

_claims: list[socket.socket] = []


def _is_free(port: int) -> bool:
    with socket.socket() as candidate:
        try:
            candidate.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _claim(port: int) -> bool:
    """Keep other processes from choosing it, until this one ends: the kernel gives a name to one holder alone."""
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claim.bind(f"\0readmission-test-port-{port}")
    except OSError:
        claim.close()
        return False
    _claims.append(claim)
    return True


def free_ports(count: int) -> list[int]:
    """Claim ports that are free together with their partners."""
    found: list[int] = []
    for port in range(FIRST, LAST):
        if len(found) == count:
            return found
        if _claim(port) and _is_free(port) and _is_free(port + INNER_OFFSET):
            found.append(port)
    raise AssertionError("no free ports")


def free_port() -> int:
    return free_ports(1)[0]
