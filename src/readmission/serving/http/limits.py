"""Access control: API keys, requests per second of one caller, requests under way at once."""

import time
from collections import OrderedDict
from dataclasses import dataclass

from readmission.serving.http.auth import ApiKeys, Scope, parse_keys
from readmission.serving.http.problems import busy, forbidden, too_fast, unauthorized
from readmission.settings import Settings

PUBLIC = frozenset({"/health", "/live", "/ready", "/docs", "/openapi.json"})
"""Paths that need no key and have no limit: whether the server is well, and its documentation."""

ADMIN = frozenset({"/metrics"})

_MAX_CALLERS = 10_000
"""Callers whose rate is kept; beyond that, the one that was silent for longest is dropped."""


@dataclass(slots=True)
class _Bucket:
    """Requests that a caller may still make at once (a token bucket)."""

    tokens: float
    at: float


class AccessControl:
    """Decides on requests before anything else looks at them.

    Args:
        keys: that are accepted.
        rate: requests per second of one caller; 0: any number.
        concurrency: requests under way at once.
    """

    def __init__(self, keys: ApiKeys, rate: float, concurrency: int) -> None:
        self._keys = keys
        self._rate = rate
        self._burst = max(rate, 1.0)
        self._concurrency = concurrency
        self._under_way = 0
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    @property
    def needs_address(self) -> bool:
        """Whether ``authorise`` may need the caller's address."""
        return self._rate > 0

    def begin(self) -> None:
        """Count a request that begins."""
        self._under_way += 1

    def end(self) -> None:
        """Count a request that has ended."""
        self._under_way -= 1

    def authorise(self, path: str, api_key: str, address: str) -> str:
        """Authorise a request, after ``begin``.

        Args:
            path: of the request.
            api_key: of the caller, empty without one.
            address: network address of the caller.

        Returns:
            name of the caller's key; empty where none is needed.

        Raises:
            ProblemError: no key or a wrong one (401), one of too narrow a scope (403), too many requests of this
                caller (429) or at once (503).
        """
        if path in PUBLIC:
            return ""
        name = "" if self._keys.is_open else self._check_key(path, api_key)
        if self._rate:
            self._check_rate(name or address)
        if self._under_way > self._concurrency:
            raise busy()
        return name

    def _check_key(self, path: str, api_key: str) -> str:
        key = self._keys.find(api_key) if api_key else None
        if key is None:
            raise unauthorized()
        if path in ADMIN and key.scope is not Scope.ADMIN:
            raise forbidden(Scope.ADMIN)
        return key.name

    def _check_rate(self, caller: str) -> None:
        now = time.monotonic()
        bucket = self._buckets.setdefault(caller, _Bucket(self._burst, now))
        self._buckets.move_to_end(caller)
        if len(self._buckets) > _MAX_CALLERS:
            self._buckets.popitem(last=False)
        bucket.tokens = min(self._burst, bucket.tokens + (now - bucket.at) * self._rate)
        bucket.at = now
        if bucket.tokens < 1:
            raise too_fast((1 - bucket.tokens) / self._rate)
        bucket.tokens -= 1


def make_access_control(settings: Settings) -> AccessControl:
    """Make the access control that the settings ask for.

    Raises:
        BadInputError: the setting of the keys is wrong.
    """
    keys = parse_keys(settings.api_keys.get_secret_value() if settings.api_keys else "")
    return AccessControl(keys, settings.rate_limit, settings.max_concurrency)
