"""Keep requests to this machine away from an HTTP proxy, which would look for the services on its own machine."""

from collections.abc import Mapping

NAMES = ("NO_PROXY", "no_proxy")
_HERE = ("127.0.0.1", "localhost")


def past_proxies(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that exclude hosts from the proxy: the existing value plus this machine.

    Programs differ in which spelling takes precedence, so both get the same value.
    """
    named = ",".join(environment.get(name, "") for name in NAMES)
    hosts = [host.strip() for host in named.split(",") if host.strip()]
    # A star means every host, but only if it is the whole value.
    value = "*" if "*" in hosts else ",".join(dict.fromkeys([*hosts, *_HERE]))
    return dict.fromkeys(NAMES, value)
