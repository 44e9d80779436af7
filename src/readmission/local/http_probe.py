"""Ask a service of this machine over plain HTTP, cheaply: a service that starts is asked many times a second."""

import ssl

import httpx

# By default a client reads the certificates of all authorities: tens of milliseconds of a core, at each call.
# Every call takes a connection of its own, for the service behind it may have been started anew.
_CLIENT = httpx.Client(
    trust_env=False,
    verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
    limits=httpx.Limits(max_keepalive_connections=0),
)


def get(url: str, timeout: float) -> httpx.Response:
    """Send a GET request, past any proxy.

    Args:
        url: ``http://``; there are no certificates for anything else.
        timeout: seconds, for each of connecting, sending and reading.

    Raises:
        httpx.HTTPError: there is no answer.
        ValueError: it is another scheme: without certificates every server would be refused.
    """
    if not url.startswith("http://"):
        raise ValueError(f"not plain HTTP: {url}")
    return _CLIENT.get(url, timeout=timeout)
