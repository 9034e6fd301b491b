"""Users and their passwords, or what SCRAM keeps of these, in memory."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from scramp import ScramMechanism

ITERATIONS = 4096
"""RFC 7677's minimum and Kafka's default; clients refuse less."""


@dataclass(frozen=True, slots=True)
class ScramKeys:
    """What a SCRAM server keeps of a password."""

    salt: bytes = field(repr=False)
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)
    iterations: int


class Credentials:
    """Knows who may come in. Its text never shows a password."""

    def __init__(self, passwords: Mapping[str, str], keys: Mapping[tuple[str, str], ScramKeys] | None = None) -> None:
        """`keys` are those of users without a password here, by mechanism and user."""
        self._passwords = dict(passwords)
        self._scram: dict[tuple[str, str], ScramKeys] = dict(keys or {})
        self._decoys = secrets.token_bytes(32)

    def __repr__(self) -> str:
        return f"Credentials({len(self._passwords.keys() | {user for _, user in self._scram})} users)"

    def matches(self, user: str, password: str) -> bool:
        """Whether this is the user's password; takes the same time for users that don't exist."""
        known = self._passwords.get(user)
        expected = known if known is not None else secrets.token_hex(16)
        return hmac.compare_digest(expected.encode(), password.encode()) and known is not None

    def scram(self, mechanism: str, user: str) -> ScramKeys:
        """The user's SCRAM keys. Unknown users get keys that nobody has the password of, always the same ones, so
        that the exchange doesn't tell who exists."""
        keys = self._scram.get((mechanism, user))
        if keys is None:
            keys = self._derive(mechanism, user)
            if user in self._passwords:  # only those: a stranger must not fill our memory
                self._scram[mechanism, user] = keys
        return keys

    def _derive(self, mechanism: str, user: str) -> ScramKeys:
        password = self._passwords.get(user)
        salt = hmac.digest(self._decoys, f"{mechanism}/{user}".encode(), "sha256")[:16]
        if password is None:
            key = hmac.digest(self._decoys, f"{mechanism}:{user}".encode(), "sha512")
            size = 32 if mechanism.endswith("256") else 64
            return ScramKeys(salt, key[:size], key[:size], ITERATIONS)
        made_salt, stored_key, server_key, iterations = ScramMechanism(mechanism).make_auth_info(
            password, ITERATIONS, salt
        )
        return ScramKeys(made_salt, stored_key, server_key, iterations)
