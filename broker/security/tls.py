"""TLS for listeners."""

from __future__ import annotations

import ssl
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID

_WORDS = {
    NameOID.COMMON_NAME: "CN",
    NameOID.COUNTRY_NAME: "C",
    NameOID.LOCALITY_NAME: "L",
    NameOID.STATE_OR_PROVINCE_NAME: "ST",
    NameOID.STREET_ADDRESS: "STREET",
    NameOID.ORGANIZATION_NAME: "O",
    NameOID.ORGANIZATIONAL_UNIT_NAME: "OU",
    NameOID.DOMAIN_COMPONENT: "DC",
    NameOID.USER_ID: "UID",
}
"""Those of RFC 2253."""


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
        context.num_tickets = 0  # who comes again is looked at again
        context.options |= ssl.OP_NO_TICKET
    return context


def take_over(listening: ssl.SSLContext, newer: ssl.SSLContext) -> None:
    """Serve whoever connects from now on by `newer`: another certificate, and another authority of clients' ones; an
    authority can't be taken from a context. Both demand clients' certificates alike."""

    def switch(connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = newer

    listening.sni_callback = switch  # asked for every handshake, also for those that name no server


def subject_of(connection: ssl.SSLObject | None) -> str | None:
    """The subject of the certificate that a client has shown, as `subject_text` writes it; None without one."""
    shown = connection.getpeercert(binary_form=True) if connection is not None else None
    if connection is None or not shown or connection.context.verify_mode is ssl.CERT_NONE:
        return None
    return subject_text(x509.load_der_x509_certificate(shown).subject)


def subject_text(name: x509.Name) -> str:
    """As Java's `X500Principal.getName()` writes it, which is what Kafka's rules and ACLs are made for: RFC 2253, with
    attributes that it has no word for as `1.2.840.113549.1.9.1=#1603…`."""
    return ",".join("+".join(map(_attribute, part)) for part in reversed(name.rdns))


def _attribute(attribute: x509.NameAttribute[str | bytes]) -> str:
    word = _WORDS.get(attribute.oid)
    if word is None or isinstance(attribute.value, bytes):
        return f"{word or attribute.oid.dotted_string}=#{_encoded(attribute).hex()}"
    text = "".join("\\" + letter if letter in ',=+<>#;"\\' else letter for letter in attribute.value)
    text = text.replace("\0", "\\00")
    bare = text.strip(" \r")
    start = len(text) - len(text.lstrip(" \r"))
    before, after = text[:start], text[start + len(bare) :]
    return f"{word}=" + "".join("\\" + blank for blank in before) + bare + "".join("\\" + blank for blank in after)


def _encoded(attribute: x509.NameAttribute[str | bytes]) -> bytes:
    """The value as it is in the certificate, with its type and length."""
    rest = x509.Name([attribute]).public_bytes()
    for _ in range(3):  # into the name, the part and the attribute
        rest = rest[_header_size(rest) :]
    oid_size = _header_size(rest) + rest[1]  # an object identifier has fewer than 128 bytes
    return rest[oid_size:]


def _header_size(data: bytes) -> int:
    return 2 + (data[1] & 0x7F if data[1] & 0x80 else 0)
