"""The control plane's certificate authority, and what it issues to brokers: for names as MSK's, and addresses."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from broker.msk.state import write_atomically

AUTHORITY_LIFE = timedelta(days=3650)
BROKER_LIFE = timedelta(days=397)  # what clients accept of public authorities; issued anew whenever a cluster starts
CLOCK_MARGIN = timedelta(hours=1)


class CertificateAuthority:
    """Made the first time; `ca.pem` is what clients must trust, `ca.key` stays with its owner."""

    def __init__(self, directory: Path, now: datetime) -> None:
        self.certificate = directory / "ca.pem"
        key_file = directory / "ca.key"
        if not key_file.exists() or not self.certificate.exists():
            self._make(key_file, now)
        key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError(f"{key_file} holds no key of an elliptic curve; move it and ca.pem away to have new ones")
        self._key = key
        self._authority = x509.load_pem_x509_certificate(self.certificate.read_bytes())

    def issue(
        self, name: str, directory: Path, hosts: Sequence[str], addresses: Sequence[str], now: datetime
    ) -> tuple[Path, Path]:
        """A certificate (with the authority's behind it) and its key, as files NAME.pem and NAME.key."""
        key = ec.generate_private_key(ec.SECP256R1())
        alternatives: list[x509.GeneralName] = [x509.DNSName(host) for host in hosts]
        alternatives += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        certificate = (
            _builder(_name(name), self._authority.subject, key.public_key(), now, BROKER_LIFE)
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        paths = directory / "node.pem", directory / "node.key"
        write_atomically(paths[1], _key_pem(key))
        write_atomically(paths[0], _pem(certificate) + self.certificate.read_bytes(), mode=0o644)
        return paths

    def _make(self, key_file: Path, now: datetime) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("Replicator local MSK authority")
        certificate = (
            _builder(name, name, key.public_key(), now, AUTHORITY_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, hashes.SHA256())
        )
        write_atomically(key_file, _key_pem(key))
        write_atomically(self.certificate, _pem(certificate), mode=0o644)


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_MARGIN)
        .not_valid_after(now + life)
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common[:64])])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
