"""TLS for listeners."""

from __future__ import annotations

import ssl
from pathlib import Path


def server_context(
    certificate: Path, key: Path | None = None, client_authority: Path | None = None, *, optional: bool = False
) -> ssl.SSLContext:
    """A context that serves `certificate` (PEM, chain included; `key` may be in the same file).

    With `client_authority` clients must present a certificate that it signed (mTLS), or may if that is `optional`.
    Raises OSError or ssl.SSLError when the files can't be read or don't fit together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    if client_authority is not None:
        context.load_verify_locations(client_authority)
        context.verify_mode = ssl.CERT_OPTIONAL if optional else ssl.CERT_REQUIRED
    return context


def subject_of(connection: ssl.SSLObject | None) -> str | None:
    """The subject of the certificate that a client has shown, as RFC 4514 and Kafka write it; None without one."""
    certificate = connection.getpeercert() if connection is not None else None
    if not certificate:
        return None
    short = {
        "commonName": "CN",
        "organizationalUnitName": "OU",
        "organizationName": "O",
        "localityName": "L",
        "stateOrProvinceName": "ST",
        "countryName": "C",
    }
    subject: tuple[tuple[tuple[str, str], ...], ...] = certificate.get("subject", ())  # type: ignore[assignment]
    parts = [f"{short.get(kind, kind)}={_escaped(value)}" for names in reversed(subject) for kind, value in names]
    return ",".join(parts)


def _escaped(value: str) -> str:
    return "".join("\\" + letter if letter in ',+"\\<>;=' else letter for letter in value)
