"""SASL clients from a cluster's `security:` settings. A client is one exchange, to be thrown away after it."""

from __future__ import annotations

import asyncio
import json
from typing import Protocol

from scramp import ScramClient, ScramException

from replicator.config.models import SecurityConfig
from replicator.config.tokens import token_source
from replicator.errors import AuthenticationError, ConfigurationError

MAX_SCRAM_ITERATIONS = 1_000_000  # CVE-2026-10143: a hostile peer could keep us hashing for hours


class SaslClient(Protocol):
    """One exchange: `first()` opens it, each answer of the broker goes through `next()`, None ends it.

    `secrets` are what a broker's words must not repeat; `check` is what to look at when it refuses us.
    """

    @property
    def mechanism(self) -> str: ...

    @property
    def check(self) -> str: ...

    @property
    def secrets(self) -> tuple[str, ...]: ...

    def first(self) -> bytes: ...

    def next(self, challenge: bytes) -> bytes | None: ...


async def sasl_client(security: SecurityConfig) -> SaslClient | None:
    """A fresh SASL exchange for these settings; None where the protocol has none.

    Tokens come from another thread: the loop never waits for one. ReplicatorError says why there is none.
    """
    if not security.protocol.startswith("SASL_"):
        return None
    username = security.username or ""
    password = security.password.get_secret_value() if security.password else ""
    if security.mechanism == "PLAIN":
        return _Plain(username, password)
    if security.mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512"):
        return _Scram(security.mechanism, username, password)
    source = token_source(security)
    if source is None:
        raise ConfigurationError(f"security.mechanism {security.mechanism}: not a mechanism this version speaks")
    token = source.token() if source.ready else await asyncio.get_running_loop().run_in_executor(None, source.token)
    if security.mechanism == "AWS_MSK_IAM":
        return _OAuthBearer(token.text, {}, "the IAM policies (kafka-cluster:Connect), security.region and the clock")
    return _OAuthBearer(token.text, security.extensions, "security.client_id, scope and what tokens the broker takes")


class _Plain:
    """RFC 4616."""

    mechanism = "PLAIN"
    check = "security.username and security.password"

    def __init__(self, username: str, password: str) -> None:
        self._message = b"\x00".join((b"", username.encode(), password.encode()))
        self.secrets = (password,)

    def first(self) -> bytes:
        return self._message

    def next(self, challenge: bytes) -> bytes | None:
        return None


class _Scram:
    """RFC 5802, through scramp; the server's signature is verified, so a broker can't pose without the password."""

    check = "security.username and security.password"

    def __init__(self, mechanism: str, username: str, password: str) -> None:
        self.mechanism = mechanism
        self.secrets = (password,)
        self._client = ScramClient([mechanism], username, password)
        self._final_sent = False

    def first(self) -> bytes:
        return str(self._client.get_client_first()).encode()

    def next(self, challenge: bytes) -> bytes | None:
        try:
            if self._final_sent:
                self._client.set_server_final(challenge.decode())
                return None
            _bound_iterations(challenge)
            self._client.set_server_first(challenge.decode())
            self._final_sent = True
            return str(self._client.get_client_final()).encode()
        except (ScramException, UnicodeDecodeError, ValueError) as error:
            raise AuthenticationError(f"{self.mechanism} exchange failed: {error}") from error


def _bound_iterations(challenge: bytes) -> None:
    for part in challenge.split(b","):
        if part.startswith(b"i=") and not (part[2:].isdigit() and int(part[2:]) <= MAX_SCRAM_ITERATIONS):
            raise ValueError(f"broker asks for {part[2:24]!r} iterations, at most {MAX_SCRAM_ITERATIONS} are accepted")


class _OAuthBearer:
    """RFC 7628 as Kafka speaks it (KIP-255), with SASL extensions (KIP-342)."""

    mechanism = "OAUTHBEARER"

    def __init__(self, token: str, extensions: dict[str, str], check: str) -> None:
        self.check = check
        self.secrets = (token,)
        fields = [f"auth=Bearer {token}", *(f"{name}={value}" for name, value in extensions.items())]
        self._message = "n,,\x01{}\x01\x01".format("\x01".join(fields)).encode()

    def first(self) -> bytes:
        return self._message

    def next(self, challenge: bytes) -> bytes | None:
        if not challenge:
            return None
        # A refusal is a JSON object; after an answer of ours the broker would say the same as an error code.
        said = _status(challenge.replace(self.secrets[0].encode(), b"..."))
        raise AuthenticationError(f"OAUTHBEARER: the broker refuses the token: {said}; check {self.check}")


def _status(challenge: bytes) -> str:
    try:
        said = json.loads(challenge[:4096])
    except (ValueError, RecursionError):
        said = None
    words = said if isinstance(said, dict) else {}
    found = [f"{key} {str(words[key])[:200]}" for key in ("status", "scope") if words.get(key)]
    return ", ".join(found) or "it doesn't say why"
