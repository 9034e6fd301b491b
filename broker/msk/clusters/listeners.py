"""The ways into a cluster: which listeners its settings ask for, with MSK's ports, and their bootstrap strings.

Source: AWS developer guide, "Port information", and GetBootstrapBrokersResponse of the service model. Connections from
other VPCs have ports from 14001 on, which MSK gives out; here it is one for each way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from broker.msk.records import ClusterRecord

IAM_MECHANISMS = ("AWS_MSK_IAM", "OAUTHBEARER")
SCRAM_MECHANISMS = ("SCRAM-SHA-512",)


@dataclass(frozen=True)
class ListenerSpec:
    """One listener of all brokers. `client_certificates`: none, requested or required."""

    name: str
    port: int
    protocol: str
    bootstrap: str
    mechanisms: tuple[str, ...] = ()
    client_certificates: str = "none"
    infix: str = ""  # in host names


@dataclass(frozen=True)
class Ways:
    """Which ways to authenticate are on."""

    iam: bool
    scram: bool
    tls: bool
    unauthenticated: bool


def enabled(settings: Mapping[str, Any] | None, *path: str) -> bool:
    """Whether a nested `enabled` is true."""
    for name in path:
        settings = (settings or {}).get(name)
    return bool((settings or {}).get("enabled"))


def ways(record: ClusterRecord) -> Ways:
    """How clients may authenticate: unauthenticated when nothing was said."""
    if record.serverless is not None:
        return Ways(iam=True, scram=False, tls=False, unauthenticated=False)
    given = (record.provisioned or {}).get("clientAuthentication")
    tls = enabled(given, "tls") or bool(((given or {}).get("tls") or {}).get("certificateAuthorityArnList"))
    iam, scram = enabled(given, "sasl", "iam"), enabled(given, "sasl", "scram")
    open_to_all = enabled(given, "unauthenticated") or not (tls or iam or scram)
    return Ways(iam=iam, scram=scram, tls=tls, unauthenticated=open_to_all)


def client_broker(record: ClusterRecord) -> str:
    """TLS, TLS_PLAINTEXT or PLAINTEXT."""
    if record.serverless is not None:
        return "TLS"
    transit = ((record.provisioned or {}).get("encryptionInfo") or {}).get("encryptionInTransit") or {}
    return str(transit.get("clientBroker", "TLS"))


def listeners(record: ClusterRecord) -> list[ListenerSpec]:
    """All listeners that the cluster's settings ask for."""
    on = ways(record)
    encryption = client_broker(record)
    certificates = "none" if not on.tls else "requested" if on.unauthenticated else "required"
    encrypted = encryption != "PLAINTEXT"
    tls = encrypted and (on.tls or on.unauthenticated)
    out = []
    if on.unauthenticated and encryption != "TLS":
        out.append(ListenerSpec("CLIENT", 9092, "PLAINTEXT", "bootstrapBrokerString"))
    if tls:
        out.append(_tls("CLIENT_SECURE", 9094, "Tls", certificates))
    if on.scram:
        out.append(_scram("CLIENT_SASL_SCRAM", 9096, "SaslScram"))
    if on.iam:
        out.append(_iam("CLIENT_IAM", 9098, "SaslIam"))
    info = (record.provisioned or {}).get("brokerNodeGroupInfo", {}).get("connectivityInfo") or {}
    if (info.get("publicAccess") or {}).get("type") == "SERVICE_PROVIDED_EIPS":
        if on.tls:
            out.append(_tls("PUBLIC_SECURE", 9194, "PublicTls", certificates, "-public"))
        if on.scram:
            out.append(_scram("PUBLIC_SASL_SCRAM", 9196, "PublicSaslScram", "-public"))
        if on.iam:
            out.append(_iam("PUBLIC_IAM", 9198, "PublicSaslIam", "-public"))
    vpc = (info.get("vpcConnectivity") or {}).get("clientAuthentication")
    if enabled(vpc, "sasl", "iam"):
        out.append(_iam("VPCE_IAM", 14001, "VpcConnectivitySaslIam", ".iam"))
    if enabled(vpc, "sasl", "scram"):
        out.append(_scram("VPCE_SASL_SCRAM", 14002, "VpcConnectivitySaslScram", ".scram"))
    if enabled(vpc, "tls"):
        out.append(_tls("VPCE_SECURE", 14003, "VpcConnectivityTls", certificates, ".tls"))
    return out


def _tls(name: str, port: int, suffix: str, certificates: str, infix: str = "") -> ListenerSpec:
    return ListenerSpec(name, port, "SSL", f"bootstrapBrokerString{suffix}", (), certificates, infix)


def _scram(name: str, port: int, suffix: str, infix: str = "") -> ListenerSpec:
    return ListenerSpec(name, port, "SASL_SSL", f"bootstrapBrokerString{suffix}", SCRAM_MECHANISMS, infix=infix)


def _iam(name: str, port: int, suffix: str, infix: str = "") -> ListenerSpec:
    return ListenerSpec(name, port, "SASL_SSL", f"bootstrapBrokerString{suffix}", IAM_MECHANISMS, infix=infix)
