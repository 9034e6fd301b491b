"""TLS contexts and SASL clients from a cluster's `security:` settings."""

from __future__ import annotations

import ssl
from typing import Protocol

from scramp import ScramClient, ScramException

from replicator.config.models import SecurityConfig
from replicator.errors import AuthenticationError, ConfigurationError

MAX_SCRAM_ITERATIONS = 1_000_000  # CVE-2026-10143: a hostile peer could keep us hashing for hours


class SaslClient(Protocol):
    """One exchange: `first()` opens it, each answer of the broker goes through `next()`, None ends it."""

    mechanism: str

    def first(self) -> bytes: ...

    def next(self, challenge: bytes) -> bytes | None: ...


def tls_context(security: SecurityConfig) -> ssl.SSLContext | None:
    """A context that verifies the broker, with our certificate if one is set; None for plaintext protocols."""
    if security.protocol not in ("SSL", "SASL_SSL"):
        return None
    try:
        context = ssl.create_default_context(cafile=security.ca_file)
        # Python 3.13 made this a default; Java's clients accept authorities without these extensions, and many are.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.check_hostname = security.verify_hostname
        # Python 3.13 asks of authorities what RFC 5280 does, and many a company's own authority doesn't have it (an
        # Authority Key Identifier). Kafka's Java clients and librdkafka don't ask.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if security.cert_file:
            password = security.key_password.get_secret_value() if security.key_password else None
            context.load_cert_chain(security.cert_file, security.key_file, password)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"TLS material can't be loaded (ca_file {security.ca_file}, cert_file {security.cert_file}, "
            f"key_file {security.key_file}): {error}; check that the files exist, are PEM and readable"
        ) from error
    return context


def sasl_client(security: SecurityConfig) -> SaslClient | None:
    """A fresh SASL exchange for these settings; None where the protocol has none."""
    if not security.protocol.startswith("SASL_"):
        return None
    username = security.username or ""
    password = security.password.get_secret_value() if security.password else ""
    if security.mechanism == "PLAIN":
        return _Plain(username, password)
    if security.mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512"):
        return _Scram(security.mechanism, username, password)
    raise ConfigurationError(f"security.mechanism {security.mechanism}: not a mechanism this version speaks")


class _Plain:
    """RFC 4616."""

    mechanism = "PLAIN"

    def __init__(self, username: str, password: str) -> None:
        self._message = b"\x00".join((b"", username.encode(), password.encode()))

    def first(self) -> bytes:
        return self._message

    def next(self, challenge: bytes) -> bytes | None:
        return None


class _Scram:
    """RFC 5802, through scramp; the server's signature is verified, so a broker can't pose without the password."""

    def __init__(self, mechanism: str, username: str, password: str) -> None:
        self.mechanism = mechanism
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
