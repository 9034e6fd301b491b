"""The file of `replicator-broker run --file`: everything that a cluster's process needs to know.

    {"data": "DIR", "control": "127.0.0.1:0",
     "nodes": [{"id": 1, "host": "127.0.1.1", "rack": "use1-az1"}],
     "listeners": [{"name": "CLIENT_IAM", "port": 9098, "protocol": "SASL_SSL", "mechanisms": ["AWS_MSK_IAM"],
                    "advertised_hosts": {"1": "b-1.…"}}],
     "tls": {"cert": "node.pem", "key": "node.key", "ca": "ca.pem"},
     "iam": {"region": "us-east-1", "cluster_arn": "arn:aws:kafka:…", "credentials": "credentials.json"},
     "scram_users": {"alice": {"password": "…"},
                     "bob": {"keys": {"SCRAM-SHA-512": {"salt": "…", "stored_key": "…", "server_key": "…"}}}},
     "metrics": {"jmx_port": 11001, "node_port": 11002}, "tags": {"team": "blue"},
     "config": {"auto.create.topics.enable": "false"}}

It holds passwords, or what SCRAM keeps of them: it should be readable by its owner alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Base64Bytes, BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from broker.security.scram_store import MAX_ITERATIONS, MIN_ITERATIONS

MAX_BYTES = 4 << 20

Port = Annotated[int, Field(ge=0, le=65535)]


class ClusterFileError(ValueError):
    """The file can't be read, isn't valid, or asks for something that can't change while the cluster runs."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NodeEntry(_Frozen):
    """A broker: its id, its own address, its availability zone."""

    id: Annotated[int, Field(ge=0, le=2**31 - 1)]
    host: str = "127.0.0.1"
    rack: str | None = None


class ListenerEntry(_Frozen):
    """A way in, on all brokers. `client_certificates` says whether TLS clients show one (mTLS)."""

    name: Annotated[str, Field(pattern=r"^[A-Z0-9_]{1,64}$")]
    port: Port = 0
    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    mechanisms: tuple[str, ...] = ()
    advertised_hosts: dict[int, str] = {}
    client_certificates: Literal["none", "requested", "required"] = "none"

    @property
    def tls(self) -> bool:
        """Whether connections are encrypted."""
        return self.protocol in ("SSL", "SASL_SSL")

    @property
    def sasl(self) -> bool:
        """Whether clients log in."""
        return self.protocol.startswith("SASL_")


class TlsEntry(_Frozen):
    """The brokers' certificate and key, and the authority of clients' certificates."""

    cert: Path
    key: Path | None = None
    ca: Path | None = None


class IamEntry(_Frozen):
    """Whose signatures count (`broker.iam.store`), and which cluster this is to policies."""

    region: str
    account: str = ""
    cluster_arn: str
    credentials: Path
    cluster_policy: Path | None = None


class MetricsEntry(_Frozen):
    """Open monitoring: where each node, on its own host, is a JMX exporter and a node exporter to Prometheus."""

    jmx_port: Port = 11001
    node_port: Port | None = 11002


class KeysEntry(_Frozen):
    """What a SCRAM server keeps of a password (RFC 5802); bytes in base64."""

    salt: Annotated[Base64Bytes, Field(min_length=8, max_length=1024)]
    stored_key: Annotated[Base64Bytes, Field(min_length=32, max_length=64, repr=False)]
    server_key: Annotated[Base64Bytes, Field(min_length=32, max_length=64, repr=False)]
    iterations: Annotated[int, Field(ge=MIN_ITERATIONS, le=MAX_ITERATIONS)] = MIN_ITERATIONS


class UserEntry(_Frozen):
    """A user who logs in with a password; `keys`, by mechanism, are all that SCRAM needs to know of it."""

    password: SecretStr | None = None
    keys: dict[Literal["SCRAM-SHA-256", "SCRAM-SHA-512"], KeysEntry] = {}

    @model_validator(mode="after")
    def _one(self) -> UserEntry:
        if (self.password is None) is not bool(self.keys):
            raise ValueError("either password or keys")
        for mechanism, keys in self.keys.items():
            size = 32 if mechanism == "SCRAM-SHA-256" else 64
            if len(keys.stored_key) != size or len(keys.server_key) != size:
                raise ValueError(f"keys of {mechanism} have {size} bytes")
        return self


class ClusterFile(_Frozen):
    """The whole file."""

    cluster_id: str | None = None
    data: Path | None = None
    control: str | None = None
    nodes: Annotated[tuple[NodeEntry, ...], Field(min_length=1, max_length=100)]
    listeners: Annotated[tuple[ListenerEntry, ...], Field(min_length=1, max_length=32)]
    tls: TlsEntry | None = None
    iam: IamEntry | None = None
    scram_users: dict[str, UserEntry] = {}
    metrics: MetricsEntry | None = None
    tags: dict[str, str] = {}
    acl_when_no_iam: bool = True
    config: dict[str, str] = {}

    @model_validator(mode="after")
    def _fits(self) -> ClusterFile:
        for what, names in (("node", [n.id for n in self.nodes]), ("listener", [x.name for x in self.listeners])):
            if len(set(names)) < len(names):
                raise ValueError(f"two {what}s are the same")
        for listener in self.listeners:
            if listener.tls and self.tls is None:
                raise ValueError(f"listener {listener.name} needs tls")
            if listener.sasl is not bool(listener.mechanisms):
                raise ValueError(f"listener {listener.name}: mechanisms are for SASL, which needs some")
            if listener.client_certificates != "none" and (self.tls is None or self.tls.ca is None):
                raise ValueError(f"listener {listener.name}: client_certificates need tls.ca")
            if set(listener.mechanisms) & {"AWS_MSK_IAM", "OAUTHBEARER"} and self.iam is None:
                raise ValueError(f"listener {listener.name}: its mechanisms need iam")
        return self


def load(path: Path) -> ClusterFile:
    """ClusterFileError, naming file and place and never a value, if it isn't valid."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ClusterFileError(f"{path}: {error.strerror or error}") from error
    if len(data) > MAX_BYTES:
        raise ClusterFileError(f"{path}: larger than {MAX_BYTES} bytes")
    if not data.strip():
        raise ClusterFileError(f"{path}: is empty")
    try:
        content: Any = json.loads(data)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ClusterFileError(f"{path}: isn't JSON: {error.msg} at {where}") from None
    except (ValueError, RecursionError) as error:  # not UTF-8; nested without end
        raise ClusterFileError(f"{path}: isn't JSON: {type(error).__name__}") from None
    try:
        return ClusterFile.model_validate(content)
    except ValidationError as error:
        places = (f"{'.'.join(map(str, item['loc'])) or 'the file'}: {item['msg']}" for item in error.errors()[:5])
        raise ClusterFileError(f"{path}: {'; '.join(places)}") from None
