"""API keys: named, of a scope, kept as hashes. Several may be valid at once, so that one can replace another."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from readmission.errors import BadInputError


class Scope(StrEnum):
    """What a key opens."""

    PREDICT = "predict"  # predictions, explanations, feedback and what the model is
    ADMIN = "admin"  # all that, and the metrics


_ENTRY = re.compile(rf"([A-Za-z0-9_-]{{1,64}}):({'|'.join(Scope)}):([0-9a-f]{{64}})")


@dataclass(frozen=True, slots=True)
class Key:
    """A key that is accepted.

    Attributes:
        name: of whom it was given to; goes into logs.
        scope: what it opens.
        digest: SHA-256 of the key, 32 bytes. Keys are 256 random bits, so a slow hash would protect nothing more.
    """

    name: str
    scope: Scope
    digest: bytes

    @property
    def entry(self) -> str:
        """How the setting writes it."""
        return f"{self.name}:{self.scope.value}:{self.digest.hex()}"


class ApiKeys:
    """All keys that are accepted.

    Args:
        keys: none at all means that no key is asked for.
    """

    def __init__(self, keys: Iterable[Key] = ()) -> None:
        self._keys = tuple(keys)

    @property
    def is_open(self) -> bool:
        """Whether no key is asked for."""
        return not self._keys

    def find(self, given: str) -> Key | None:
        """Find the key that was given; takes equally long for every key, right or wrong."""
        digest = _hash(given)
        found = None
        for key in self._keys:
            if hmac.compare_digest(key.digest, digest):
                found = key
        return found


def new_key(name: str, scope: Scope) -> tuple[str, Key]:
    """Make a key; answer what its owner keeps, and what the setting keeps.

    Raises:
        BadInputError: the name cannot stand in the setting.
    """
    text = f"rdm_{secrets.token_urlsafe(32)}"
    return text, _parse_key(f"{name}:{scope.value}:{_hash(text).hex()}")


def parse_keys(setting: str) -> ApiKeys:
    """Read the setting: entries ``NAME:SCOPE:SHA256`` between commas.

    Raises:
        BadInputError: an entry is something else, or a name is there twice.
    """
    keys = [_parse_key(entry.strip()) for entry in setting.split(",") if entry.strip()]
    names = [key.name for key in keys]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadInputError(f"READMISSION_API_KEYS: the name {twice[0]} is there twice")
    return ApiKeys(keys)


def _parse_key(entry: str) -> Key:
    match = _ENTRY.fullmatch(entry)
    if match is None:  # the entry is not repeated: somebody may have written the key itself
        raise BadInputError(
            f"READMISSION_API_KEYS: write NAME:SCOPE:SHA256, SCOPE being {' or '.join(Scope)};"
            " `readmission api-key` makes one"
        )
    return Key(match[1], Scope(match[2]), bytes.fromhex(match[3]))


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
