"""SASL mechanisms, the server's side: PLAIN (RFC 4616) and SCRAM-SHA-256/512 (RFC 5802, RFC 7677).

An exchange takes the client's messages one by one. What it refuses it refuses with one and the same text, so that
nobody learns whether the user exists.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from scramp import ScramException, ScramMechanism

from broker.security.credentials import Credentials

MAX_USER_BYTES = 1024


class AuthenticationFailed(Exception):
    """The client couldn't prove who it is, or its message makes no sense."""


class Exchange(Protocol):
    """One authentication in progress. `user` is set once `done` is true."""

    user: str
    done: bool

    def step(self, message: bytes) -> bytes:
        """Take the client's next message; returns the answer. Raises AuthenticationFailed."""


class PlainExchange:
    """authorization id NUL user NUL password."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self.user = ""
        self.done = False

    def step(self, message: bytes) -> bytes:
        """The one message there is."""
        parts = _text(message).split("\x00")
        if len(parts) != 3 or not parts[1] or not parts[2] or parts[0] not in ("", parts[1]):
            raise AuthenticationFailed
        if not self._credentials.matches(parts[1], parts[2]):
            raise AuthenticationFailed
        self.user = parts[1]
        self.done = True
        return b""


class ScramExchange:
    """Two messages each way."""

    def __init__(self, credentials: Credentials, mechanism: str) -> None:
        self.user = ""
        self.done = False
        self._name = ""
        self._first = True
        self._credentials = credentials
        self._mechanism = mechanism
        self._server = ScramMechanism(mechanism).make_server(self._keys)

    def step(self, message: bytes) -> bytes:
        """First the user's name and nonce, then the proof."""
        text = _text(message)
        try:
            if self._first:
                self._first = False
                self._server.set_client_first(text)
                return str(self._server.get_server_first()).encode()
            self._server.set_client_final(text)
            answer = str(self._server.get_server_final()).encode()
        except (ScramException, ValueError, KeyError, IndexError) as error:
            raise AuthenticationFailed from error
        self.user = self._name
        self.done = True
        return answer

    def _keys(self, user: object) -> tuple[bytes, bytes, bytes, int]:
        self._name = str(user).replace("=2C", ",").replace("=3D", "=")
        if len(self._name.encode()) > MAX_USER_BYTES:
            raise AuthenticationFailed
        keys = self._credentials.scram(self._mechanism, self._name)
        return keys.salt, keys.stored_key, keys.server_key, keys.iterations


MECHANISMS: dict[str, Callable[[Credentials], Exchange]] = {
    "PLAIN": PlainExchange,
    "SCRAM-SHA-256": lambda credentials: ScramExchange(credentials, "SCRAM-SHA-256"),
    "SCRAM-SHA-512": lambda credentials: ScramExchange(credentials, "SCRAM-SHA-512"),
}


class SaslServer:
    """The mechanisms a cluster offers on its SASL listeners, and the users it knows."""

    def __init__(self, mechanisms: Sequence[str], credentials: Credentials) -> None:
        unknown = [name for name in mechanisms if name not in MECHANISMS]
        if unknown or not mechanisms:
            raise ValueError(f"unknown SASL mechanism {', '.join(unknown)}; there are {', '.join(MECHANISMS)}")
        self.mechanisms = tuple(mechanisms)
        self._credentials = credentials

    def begin(self, mechanism: str) -> Exchange:
        """A new exchange of an offered mechanism. Raises KeyError for others."""
        if mechanism not in self.mechanisms:
            raise KeyError(mechanism)
        return MECHANISMS[mechanism](self._credentials)


def _text(message: bytes) -> str:
    try:
        return message.decode()
    except UnicodeDecodeError:
        raise AuthenticationFailed from None
