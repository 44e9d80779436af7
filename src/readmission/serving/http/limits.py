"""Who may come in, how often and how many at once. No HTTP library: what was sent in, a problem out."""

import time
from collections import OrderedDict
from dataclasses import dataclass

from readmission.serving.http.auth import KeyRing, Scope, parse_keys
from readmission.serving.http.problems import busy, forbidden, too_fast, unauthorized
from readmission.settings import Settings

PUBLIC = frozenset({"/health", "/live", "/ready", "/docs", "/openapi.json"})
"""What is open to everybody: whether the server is well, and how it is asked."""

ADMIN = frozenset({"/metrics"})

_MOST_CALLERS = 10_000
"""Callers whose rate is remembered; of more, the one that was silent for longest is forgotten."""


@dataclass(slots=True)
class _Bucket:
    """Requests that a caller may still make at once (a token bucket)."""

    tokens: float
    at: float


class Gate:
    """Checks requests before anything else looks at them.

    Args:
        keys: that are accepted.
        rate: requests per second of one caller; 0: any number.
        concurrency: requests under way at once.
    """

    def __init__(self, keys: KeyRing, rate: float, concurrency: int) -> None:
        self._keys = keys
        self._rate = rate
        self._burst = max(rate, 1.0)
        self._concurrency = concurrency
        self._inside = 0
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    @property
    def asks_address(self) -> bool:
        """Whether ``admit`` may need the caller's address."""
        return self._rate > 0

    def enter(self) -> None:
        """Count a request that begins."""
        self._inside += 1

    def leave(self) -> None:
        """Count a request that has ended."""
        self._inside -= 1

    def admit(self, path: str, given: str, address: str) -> str:
        """Let a request in, after ``enter``.

        Args:
            path: asked for.
            given: key of the caller, empty without one.
            address: network address of the caller.

        Returns:
            name of the caller's key; empty where none is needed.

        Raises:
            ProblemError: no key or a wrong one (401), one of too narrow a scope (403), too many requests of this
                caller (429) or at once (503).
        """
        if path in PUBLIC:
            return ""
        name = "" if self._keys.is_open else self._check_key(path, given)
        if self._rate:
            self._check_rate(name or address)
        if self._inside > self._concurrency:
            raise busy()
        return name

    def _check_key(self, path: str, given: str) -> str:
        key = self._keys.find(given) if given else None
        if key is None:
            raise unauthorized()
        if path in ADMIN and key.scope is not Scope.ADMIN:
            raise forbidden(Scope.ADMIN)
        return key.name

    def _check_rate(self, caller: str) -> None:
        now = time.monotonic()
        bucket = self._buckets.setdefault(caller, _Bucket(self._burst, now))
        self._buckets.move_to_end(caller)
        if len(self._buckets) > _MOST_CALLERS:
            self._buckets.popitem(last=False)
        bucket.tokens = min(self._burst, bucket.tokens + (now - bucket.at) * self._rate)
        bucket.at = now
        if bucket.tokens < 1:
            raise too_fast((1 - bucket.tokens) / self._rate)
        bucket.tokens -= 1


def make_gate(settings: Settings) -> Gate:
    """Make what lets callers in.

    Raises:
        BadInputError: the setting of the keys is wrong.
    """
    keys = parse_keys(settings.api_keys.get_secret_value() if settings.api_keys else "")
    return Gate(keys, settings.rate_limit, settings.max_concurrency)
