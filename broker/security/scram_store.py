"""SCRAM credentials that were made while the cluster runs (KIP-554): keys, never passwords.

Source: `org.apache.kafka.controller.ScramControlManager`, `org.apache.kafka.image.ScramImage`, RFC 5802 section 3.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from broker.security.credentials import ScramKeys

SCRAM_SHA_256, SCRAM_SHA_512 = 1, 2
MECHANISMS = {SCRAM_SHA_256: "SCRAM-SHA-256", SCRAM_SHA_512: "SCRAM-SHA-512"}
"""By their numbers in the protocol."""
MIN_ITERATIONS, MAX_ITERATIONS = 4096, 16384
MAX_CREDENTIALS = 20_000
_HASHES = {SCRAM_SHA_256: hashlib.sha256, SCRAM_SHA_512: hashlib.sha512}


class ScramStore:
    """By user and mechanism number. `on_change` is called after each change."""

    def __init__(self, rows: Iterable[Mapping[str, Any]] = ()) -> None:
        """As `rows` gives them; KeyError, TypeError or ValueError for others."""
        self._keys: dict[tuple[str, int], ScramKeys] = {}
        self.on_change: list[Callable[[], None]] = []
        for row in rows:
            salt, stored, server = (b64decode(row[name], validate=True) for name in ("salt", "stored", "server"))
            self._keys[str(row["user"]), int(row["mechanism"])] = ScramKeys(
                salt, stored, server, int(row["iterations"])
            )

    def __contains__(self, key: tuple[str, int]) -> bool:
        return key in self._keys

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def users(self) -> list[str]:
        """Who has any."""
        return sorted({user for user, _ in self._keys})

    def of(self, user: str) -> dict[int, ScramKeys]:
        """A user's keys by mechanism number."""
        return {number: self._keys[user, number] for number in MECHANISMS if (user, number) in self._keys}

    def find(self, mechanism: str, user: str) -> ScramKeys | None:
        """The keys of a user for a mechanism by name."""
        number = next((number for number, name in MECHANISMS.items() if name == mechanism), 0)
        return self._keys.get((user, number))

    def change(self, upserts: Mapping[tuple[str, int], ScramKeys], deletions: Iterable[tuple[str, int]]) -> None:
        """All of it at once."""
        for key in deletions:
            self._keys.pop(key, None)
        self._keys.update(upserts)
        for callback in self.on_change:
            callback()

    def rows(self) -> list[dict[str, Any]]:
        """For the metadata file."""
        return [
            {
                "user": user,
                "mechanism": number,
                "salt": b64encode(keys.salt).decode(),
                "stored": b64encode(keys.stored_key).decode(),
                "server": b64encode(keys.server_key).decode(),
                "iterations": keys.iterations,
            }
            for (user, number), keys in self._keys.items()
        ]


def keys_of(mechanism: int, salt: bytes, salted_password: bytes, iterations: int) -> ScramKeys:
    """What a server keeps of a salted password."""
    new = _HASHES[mechanism]
    client_key = hmac.digest(salted_password, b"Client Key", new)
    server_key = hmac.digest(salted_password, b"Server Key", new)
    return ScramKeys(salt, new(client_key).digest(), server_key, iterations)


def keys_of_password(mechanism: int, password: str, salt: bytes) -> ScramKeys:
    """What a server keeps of a password, with Kafka's default of iterations. As in Kafka, SASLprep isn't asked."""
    name = _HASHES[mechanism]().name
    return keys_of(mechanism, salt, hashlib.pbkdf2_hmac(name, password.encode(), salt, MIN_ITERATIONS), MIN_ITERATIONS)
