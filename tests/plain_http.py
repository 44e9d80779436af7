"""Requests to servers of this machine. A function of httpx makes a client, which takes it 25 milliseconds of a core."""

import ssl

import httpx

_CLIENT = httpx.Client(
    trust_env=False,
    verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
    limits=httpx.Limits(max_keepalive_connections=0),  # each on a connection of its own, for servers come and go
    timeout=30,
)
request, get, post, put, delete = _CLIENT.request, _CLIENT.get, _CLIENT.post, _CLIENT.put, _CLIENT.delete
